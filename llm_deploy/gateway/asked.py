"""A request's body, read as far as the gateway needs it: what is asked, of which model, and what it may cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from llm_deploy.errors import InferenceRequestError
from llm_deploy.gateway import fields

Kind = Literal["chat", "completion", "embeddings", "generate"]

_FIELDS: dict[Kind, fields.Fields] = {
    "chat": fields.CHAT,
    "completion": fields.COMPLETION,
    "embeddings": fields.EMBEDDINGS,
    "generate": fields.GENERATE,
}
_BYTES_PER_TOKEN = 4
"""A guess for what a prompt may cost, corrected by what the engine counts."""


@dataclass(slots=True)
class Asked:
    """One request.

    Attributes:
        model: The public name; empty where the request names none.
        document: The body; replaced, never changed.
        wants_usage: OpenAI's `stream_options.include_usage`, or TGI's `details`.
        max_tokens: New tokens asked for.
        prompt_estimate: Tokens of the prompt, guessed from its size.
        backend: Who was asked last.
    """

    kind: Kind
    model: str
    document: dict[str, Any]
    stream: bool
    wants_usage: bool
    max_tokens: int | None
    prompt_estimate: int
    backend: str = ""


def read(kind: Kind, body: bytes, *, stream: bool | None = None) -> Asked:
    """Read a body.

    Args:
        kind: What the route takes.
        body: JSON.
        stream: What the route decides, where it does.

    Raises:
        InferenceRequestError: It is no JSON, or a field is wrong.
    """
    document = fields.check(_parsed(body), _FIELDS[kind])
    streamed = bool(document.get("stream")) if stream is None else stream
    options = document.get("stream_options") if kind != "generate" else _parameters(document)
    flag = "include_usage" if kind != "generate" else "details"
    return Asked(
        kind,
        document.get("model") or "",
        document,
        streamed and kind != "embeddings",
        bool(options and options.get(flag)),
        _max_tokens(kind, document),
        len(body) // _BYTES_PER_TOKEN,
    )


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InferenceRequestError(f"the body is not JSON: {error}") from error


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    return fields.check(document.get("parameters") or {}, fields.PARAMETERS)


def _max_tokens(kind: Kind, document: dict[str, Any]) -> int | None:
    if kind == "generate":
        found = (document.get("parameters") or {}).get("max_new_tokens")
        return None if found is None else int(found)
    old, new = document.get("max_tokens"), document.get("max_completion_tokens")
    if old is None or new is None:
        found = new if old is None else old
        return None if found is None else int(found)
    return int(max(old, new))  # engines differ in which of the two they take


def written(document: dict[str, Any]) -> bytes:
    """A document as JSON; whole numbers beyond 64 bits and lone surrogates, which orjson refuses, the slow way.

    Raises:
        InferenceRequestError: It is nested too deeply.
    """
    try:
        return orjson.dumps(document)
    except TypeError:
        pass
    try:
        return json.dumps(document, separators=(",", ":")).encode()
    except RecursionError as error:
        raise InferenceRequestError("the body is nested too deeply") from error


def limit(asked: Asked, tokens: int) -> None:
    """Set how much may be generated, where the request does not say."""
    asked.max_tokens = tokens
    if asked.kind == "generate":
        parameters = {**(asked.document.get("parameters") or {}), "max_new_tokens": tokens}
        asked.document = {**asked.document, "parameters": parameters}
    elif asked.kind != "embeddings":
        asked.document = {**asked.document, "max_tokens": tokens}


def of_chat(model: str, body: bytes, *, stream: bool) -> Asked:
    """A chat that the gateway itself asks."""
    document: dict[str, Any] = orjson.loads(body)
    return Asked("chat", model, document, stream, True, None, len(body) // _BYTES_PER_TOKEN)
