"""OpenAI's and TGI's streams to callers who asked for just that: the bytes pass, and are looked at, not parsed.

In a JSON text every quotation mark is written with a backslash before it, so that `"usage":{` or `"model":"x"` in the
bytes of an event can only be a field. Events that have such a field of interest are parsed; the others are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from llm_deploy.dialects import openai, tgi
from llm_deploy.dialects.failures import error_for, failure_in
from llm_deploy.dialects.sse import SseDecoder
from llm_deploy.dialects.stream import MALFORMED
from llm_deploy.dialects.types import Chunk
from llm_deploy.errors import InferenceError, LlmDeployError, StreamBrokenError, WireFormatError
from llm_deploy.gateway.answers.frame import DONE
from llm_deploy.gateway.answers.writer import EVENT_END, Blocks, Tally

_OPENAI_NOTABLE: Final = (b'"finish_reason":"', b'"usage":{', b'"error"', b"[DONE]")
_SPACED_NOTABLE: Final = (*_OPENAI_NOTABLE, b'"finish_reason": "', b'"usage": {')
_TGI_NOTABLE: Final = (b'"generated_text":"', b'"details":{', b'"error"', b'"generated_text": "', b'"details": {')
_MODEL: Final = re.compile(rb'"model":( ?)"((?:[^"\\]|\\.)*)"')
_WHERE: Final = "the model server, in the middle of its answer,"


class RelayWriter:
    """A `StreamWriter` whose events stay as they are.

    Args:
        read: What an event of interest says: a dialect's reader.
        notable: What makes an event one of interest.
        rename: Applied to every block: the model's public name for the engine's.
        keeps_usage: Whether the caller asked for the chunk that has nothing but token counts.
        done: What ends a whole stream, where the engine has not said it.
    """

    def __init__(
        self,
        read: Callable[[Any], list[Chunk] | None],
        notable: tuple[bytes, ...],
        *,
        rename: tuple[bytes, bytes] | None = None,
        keeps_usage: bool = True,
        done: bytes = b"",
    ) -> None:
        self.tally = Tally()
        self._read = read
        self._notable = notable
        self._rename = rename
        self._keeps_usage = keeps_usage
        self._done = done
        self._blocks = Blocks()
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """See `StreamWriter.feed`."""
        block = self._blocks.take(data)
        if not block:
            return b""
        block = self._renamed(block)
        for sign in self._notable:
            if sign in block:
                return self._passed(block)
        self.tally.events += block.count(EVENT_END)
        return block

    def close(self, cause: InferenceError | None = None) -> bytes:
        """See `StreamWriter.close`."""
        rest = self._blocks.rest()
        out = self._looked_at(self._renamed(rest + EVENT_END)) if rest and _is_whole(rest) else b""
        if self.tally.finish is None:
            self._kept = out
            raise cause or StreamBrokenError(
                f"the answer ended after {self.tally.events} events, without its last one",
                hint="What had arrived is kept; the model server's log says why it stopped.",
            )
        done, self._done = self._done, b""
        return out + done

    def take_kept(self) -> bytes:
        """See `StreamWriter.take_kept`."""
        kept, self._kept = self._kept, b""
        return kept

    def _renamed(self, block: bytes) -> bytes:
        if not block.isascii():
            block = _valid(block)
        return block if self._rename is None else block.replace(*self._rename)

    def _passed(self, block: bytes) -> bytes:
        """A block with an event of interest: what is before it passes unseen, the rest is looked at."""
        first = min(place for sign in self._notable if (place := block.find(sign)) >= 0)
        start = block.rfind(EVENT_END, 0, first) + len(EVENT_END)
        if start < len(EVENT_END):
            return self._looked_at(block)
        self.tally.events += block.count(EVENT_END, 0, start)
        return self._looked_at(block[start:], block[:start])

    def _looked_at(self, block: bytes, before: bytes = b"") -> bytes:
        out = [before]
        try:
            out.extend(event + EVENT_END for event in block.split(EVENT_END)[:-1] if self._passes(event))
        except LlmDeployError:
            self._kept = b"".join(out)
            raise
        return b"".join(out)

    def _passes(self, event: bytes) -> bool:
        payload = event.removeprefix(b"data:").strip()
        if payload == b"[DONE]":
            self._done = b""
            return True
        if not event.startswith(b"data:"):
            return True  # a comment, or a field that says nothing
        document = _parsed(payload)
        failure = failure_in(document)
        if failure is not None:
            raise error_for(failure, where=_WHERE)
        self._count(document, payload)
        return self._keeps_usage or not _only_usage(document)

    def _count(self, document: Any, payload: bytes) -> None:  # noqa: ANN401 - a JSON document
        try:
            chunks = self._read(document) or []
        except MALFORMED as error:
            raise WireFormatError(f"an event is not of the expected dialect: {payload[:200]!r}") from error
        for chunk in chunks:
            self.tally.finish = chunk.finish_reason or self.tally.finish
            self.tally.events += bool(chunk.text or chunk.tool_calls)
            if chunk.counts is not None:
                self.tally.prompt_tokens, self.tally.generated_tokens = chunk.counts.prompt, chunk.counts.generated


class ReframedWriter:
    """A `StreamWriter` before another: events framed in any way (bare JSON lines, CRLF) as that one expects them."""

    def __init__(self, inner: RelayWriter) -> None:
        self._inner = inner
        self._events = SseDecoder()

    @property
    def tally(self) -> Tally:
        """See `StreamWriter.tally`."""
        return self._inner.tally

    def feed(self, data: bytes) -> bytes:
        """See `StreamWriter.feed`."""
        out = self._inner.feed(b"".join([_framed(payload) for _, payload in self._events.feed(data)]))
        if self._events.failure is not None:
            raise self._events.failure
        return out

    def close(self, cause: InferenceError | None = None) -> bytes:
        """See `StreamWriter.close`."""
        last = [payload for _, payload in self._events.close() if _is_whole(payload)]
        return self._inner.feed(b"".join(map(_framed, last))) + self._inner.close(cause)

    def take_kept(self) -> bytes:
        """See `StreamWriter.take_kept`."""
        return self._inner.take_kept()


def openai_relay(first: bytes, model: str, *, keeps_usage: bool) -> RelayWriter:
    """The writer for an engine that speaks OpenAI, whose first event this is."""
    notable = _SPACED_NOTABLE if b'": ' in first else _OPENAI_NOTABLE
    rename = renaming(first, model)
    return RelayWriter(openai.read_event, notable, rename=rename, keeps_usage=keeps_usage, done=DONE)


def tgi_relay() -> RelayWriter:
    """The writer for a caller of TGI's routes whose engine is TGI."""
    return RelayWriter(tgi.read_event, _TGI_NOTABLE)


def renaming(document: bytes, model: str) -> tuple[bytes, bytes] | None:
    """What to replace by what, so that a document names the public model; `None` when it does already."""
    found = _MODEL.search(document)
    if found is None:
        return None
    public = b'"model":%s%s' % (found[1], json.dumps(model).encode())
    return None if public == found[0] else (found[0], public)


def _framed(payload: bytes) -> bytes:
    return b"data: %s\n\n" % payload.replace(b"\n", b" ")


def _only_usage(document: Any) -> bool:  # noqa: ANN401 - a JSON document
    return isinstance(document, dict) and document.get("choices") == [] and bool(document.get("usage"))


def _parsed(payload: bytes) -> Any:  # noqa: ANN401 - a JSON document
    try:
        return orjson.loads(payload)
    except ValueError:
        pass
    try:
        return json.loads(payload)  # lone surrogates and large numbers, which orjson refuses
    except (ValueError, RecursionError) as error:
        raise WireFormatError(f"an event is not JSON: {payload[:200]!r}") from error


def _is_whole(event: bytes) -> bool:
    payload = event.removeprefix(b"data:").strip()
    if payload == b"[DONE]":
        return True
    try:
        orjson.loads(payload)
    except ValueError:
        return False
    return True


def _valid(block: bytes) -> bytes:
    """The block as UTF-8: official clients refuse anything else."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode(errors="replace").encode()
    return block
