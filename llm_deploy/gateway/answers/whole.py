"""Answers that are not streamed: passed on where their shape is the route's own, written anew otherwise."""

from __future__ import annotations

import json
import re
import struct
from base64 import b64encode
from typing import Any, Final

import orjson

from llm_deploy.dialects import openai
from llm_deploy.dialects.failures import error_for, failure_in
from llm_deploy.dialects.registry import DIALECTS
from llm_deploy.dialects.types import FinishReason, Generation, TokenCounts
from llm_deploy.errors import WireFormatError
from llm_deploy.gateway.answers.frame import Frame
from llm_deploy.gateway.answers.relay import renaming
from llm_deploy.gateway.answers.writer import Tally

_DIGITS: Final = frozenset(b"0123456789")
_MAX_DIGITS: Final = 12
_REASON: Final = re.compile(rb'"finish_reason": ?"([a-z_]+)"')
_TGI_REASONS: Final[dict[FinishReason, str]] = {"length": "length", "eos": "eos_token", "stop": "stop_sequence"}


def openai_answer(body: bytes, frame: Frame) -> tuple[bytes, Tally]:
    """A completion or chat completion under the public model's name.

    Raises:
        LlmDeployError: The body is an error in disguise, or no answer.
    """
    if body.startswith(b"{") and b'"choices":' in body:
        return _renamed(body, frame.model), _tally_of(body)
    answer = DIALECTS["auto"].decode(body)
    return _written(frame.whole(answer)), _tally(answer)


def tgi_answer(body: bytes, *, keeps_details: bool) -> tuple[bytes, Tally]:
    """TGI's `{"generated_text", "details"?}`; the details that the gateway asked for to count tokens go unless wanted.

    Raises:
        LlmDeployError: As `openai_answer`.
    """
    answer = DIALECTS["auto"].decode(body)
    document: dict[str, Any] = {"generated_text": answer.text}
    if keeps_details:
        document["details"] = _own_details(answer) or _details(answer)
    return _written(document), _tally(answer)


def embeddings_answer(body: bytes, model: str, *, as_base64: bool = False) -> tuple[bytes, Tally]:
    """OpenAI's list of embeddings under the public model's name; also from TEI's bare list of vectors.

    Args:
        body: What the engine said.
        model: The public name.
        as_base64: Vectors that are written anew are base64 of 32-bit floats, which the official clients ask for.

    Raises:
        LlmDeployError: As `openai_answer`.
    """
    if body.startswith(b"{") and b'"data":' in body:
        return _renamed(body, model), Tally(prompt_tokens=_number_after(body, b'"prompt_tokens":'))
    vectors = _vectors(body)
    said = [_base64(vector) for vector in vectors] if as_base64 else vectors
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(said)]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return _written({"object": "list", "data": data, "model": model, "usage": usage}), Tally()


def _renamed(body: bytes, model: str) -> bytes:
    names = renaming(body, model)
    return body if names is None else body.replace(*names, 1)


def _tally_of(body: bytes) -> Tally:
    """The counts of an OpenAI answer; its quotation marks tell fields from text, see `relay`."""
    found = _REASON.search(body)
    reason = None if found is None else openai.finish_reason(found[1].decode())
    prompt, generated = _number_after(body, b'"prompt_tokens":'), _number_after(body, b'"completion_tokens":')
    return Tally(prompt, generated, finish=reason)


def _number_after(body: bytes, name: bytes) -> int | None:
    start = body.rfind(name)
    if start < 0:
        return None
    start += len(name)
    while body[start : start + 1] == b" ":
        start += 1
    end = start
    while end < min(len(body), start + _MAX_DIGITS) and body[end] in _DIGITS:
        end += 1
    return int(body[start:end]) if end > start else None


def _tally(answer: Generation) -> Tally:
    counts = answer.counts
    return Tally(counts.prompt, counts.generated, len(answer.tokens), answer.finish_reason)


def _own_details(answer: Generation) -> dict[str, Any] | None:
    document = answer.raw[0] if isinstance(answer.raw, list) and answer.raw else answer.raw
    details = document.get("details") if isinstance(document, dict) else None
    return details if isinstance(details, dict) else None


def _details(answer: Generation) -> dict[str, Any]:
    counts: TokenCounts = answer.counts
    return {
        "finish_reason": _TGI_REASONS.get(answer.finish_reason, "eos_token"),
        "generated_tokens": counts.generated or 0,
        "seed": None,
        "prefill": [],
        "tokens": [],
    }


def _base64(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _vectors(body: bytes) -> list[list[float]]:
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise WireFormatError(f"the answer is not JSON: {body[:200]!r}") from error
    failure = failure_in(document)
    if failure is not None:
        raise error_for(failure)
    if not isinstance(document, list) or not all(isinstance(vector, list) for vector in document):
        raise WireFormatError(f"the answer holds no embeddings: {body[:200]!r}")
    return document


def _written(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, separators=(",", ":")).encode()
