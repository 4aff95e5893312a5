"""A small client of a gateway, for the command line: standard library, so that it starts at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from llm_deploy.dialects.failures import failure_in, model_error
from llm_deploy.dialects.sse import SseDecoder
from llm_deploy.errors import (
    LlmDeployError,
    NotFoundError,
    SpecError,
    StreamBrokenError,
    UnauthenticatedError,
    UnreachableError,
    WireFormatError,
)

_TIMEOUT_S: Final = 300
_MAX_BYTES: Final = 32 * 1024 * 1024
_READ_BYTES: Final = 64 * 1024
_NO_KEY: Final = "Put the API key into LLMDEPLOY_API_KEY, or name another variable with --key-env."
_NO_DOCUMENTS: Final = "Ingest some (llmdeploy rag ingest PATH), give its file a section rag:, and start it again."


@dataclass(frozen=True, slots=True)
class Asking:
    """A gateway's address and the key to it."""

    url: str
    key: str | None = None

    def chat(self, question: str, model: str | None, max_tokens: int | None, *, stream: bool) -> Iterator[str]:
        """The pieces of an answer.

        Raises:
            LlmDeployError: No gateway there, no such model, no valid key, or the answer failed.
        """
        document: dict[str, Any] = {
            "model": model or self.first_model(),
            "messages": [{"role": "user", "content": question}],
            "stream": stream,
        }
        if max_tokens is not None:
            document["max_tokens"] = max_tokens
        if not stream:
            yield str(self._document("/v1/chat/completions", document)["choices"][0]["message"]["content"] or "")
            return
        for event in self._events("/v1/chat/completions", document):
            for choice in event.get("choices") or ():
                yield choice.get("delta", {}).get("content") or ""

    def rag(self, question: str, *, stream: bool) -> Iterator[str]:
        """The pieces of an answer from documents, and the citations after it. Raises as `chat`."""
        if not stream:
            answer = self._document("/rag", {"query": question})
            yield answer["answer"]
            yield _sources(answer.get("citations") or [])
            return
        citations: list[dict[str, Any]] = []
        for event in self._events("/rag", {"query": question, "stream": True}):
            citations = event.get("citations") or citations
            yield event.get("text") or ""
        yield _sources(citations)

    def first_model(self) -> str:
        """The first model that the key may use."""
        data = self._document("/v1/models", None)["data"]
        if not data:
            raise NotFoundError(f"{self.url} serves no model to this key")
        return str(data[0]["id"])

    def _document(self, path: str, body: dict[str, Any] | None) -> Any:  # noqa: ANN401 - a JSON document
        with self._opened(path, body) as response:
            data = response.read(_MAX_BYTES)
        try:
            return json.loads(data)
        except ValueError as error:
            raise WireFormatError(f"{self.url}{path} answered no JSON: is it a gateway?") from error

    def _events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        decoder = SseDecoder()
        with self._opened(path, body) as response:
            try:
                while data := response.read1(_READ_BYTES):
                    yield from map(_read, _payloads(decoder.feed(data)))
                    if decoder.failure is not None:
                        raise decoder.failure
            except (OSError, HTTPException) as error:
                raise StreamBrokenError("the connection broke in the middle of the answer") from error
        yield from map(_read, _payloads(decoder.close()))

    def _opened(self, path: str, body: dict[str, Any] | None) -> HTTPResponse:
        if not self.url.startswith(("http://", "https://")):
            raise SpecError(f"not an HTTP address: {self.url!r}", hint="For example http://127.0.0.1:8000.")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        data = None if body is None else json.dumps(body).encode()
        address = self.url.rstrip("/").removesuffix("/v1") + path
        try:
            response: HTTPResponse = urlopen(Request(address, data, headers), timeout=_TIMEOUT_S)  # noqa: S310 - checked
        except HTTPError as error:
            raise _refused(error, address) from error
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UnreachableError(f"cannot reach {address}: {reason}", hint="Is the gateway running there?") from error
        return response


def _refused(error: HTTPError, address: str) -> LlmDeployError:
    text = error.read(_READ_BYTES).decode(errors="replace")
    found = model_error(text, status=error.code, where=address)
    if error.code == 401:  # noqa: PLR2004 - HTTP's number
        return UnauthenticatedError(found.message, hint=_NO_KEY)
    if error.code == 404 and address.endswith("/rag"):  # noqa: PLR2004 - as above
        return NotFoundError(f"{address}: this gateway answers from no documents", hint=_NO_DOCUMENTS)
    return found


def _payloads(events: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    return (payload for _, payload in events if payload.strip() != b"[DONE]")


def _read(payload: bytes) -> dict[str, Any]:
    document = json.loads(payload)
    failure = failure_in(document)
    if failure is not None:
        raise StreamBrokenError(failure.message)
    return document if isinstance(document, dict) else {}


def _sources(citations: list[dict[str, Any]]) -> str:
    lines = [f"[{each.get('n')}] {each.get('source') or each.get('title') or ''}" for each in citations]
    return "".join(f"\n{line}" for line in lines)
