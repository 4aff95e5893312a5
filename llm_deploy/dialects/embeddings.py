"""Texts as vectors: OpenAI's shape (vLLM, SGLang, gateways) and that of Text Embeddings Inference (TEI), LMI's too.

Source: OpenAI API reference, embeddings; TEI's `/embed`, which answers with a list of lists.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from llm_deploy.dialects.failures import error_for, failure_in
from llm_deploy.dialects.stream import MALFORMED
from llm_deploy.dialects.types import Embeddings
from llm_deploy.errors import InferenceRequestError, WireFormatError

Shape = Literal["openai", "tei"]

MOST_TEXTS = 32
"""Texts in one request. Source: TEI, `--max-client-batch-size`; other engines have no limit of this kind."""


def encode(texts: Sequence[str], *, shape: Shape, model: str | None = None) -> bytes:
    """The body of one request.

    Raises:
        InferenceRequestError: A text that is empty, which no engine takes, or cannot be written as JSON.
    """
    if not all(texts):
        raise InferenceRequestError("an empty text has no vector")
    given: dict[str, Any] = {"inputs": list(texts)} if shape == "tei" else {"input": list(texts)}
    if model is not None and shape == "openai":
        given["model"] = model
    try:
        return json.dumps(given, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InferenceRequestError(f"the texts cannot be written as JSON: {error}") from error


def decode(body: bytes, count: int) -> Embeddings:
    """The vectors of an answer in either shape, `count` of them.

    Raises:
        InferenceError: The body is an error in disguise.
        WireFormatError: It is no such answer, or has another number of vectors or vectors of different lengths.
    """
    try:
        document = json.loads(body)
        failure = failure_in(document)
        if failure is not None:
            raise error_for(failure)
        found = _read(document)
    except MALFORMED as error:
        raise WireFormatError(f"the answer holds no vectors: {body[:200]!r}") from error
    if len(found.vectors) != count or len({len(vector) for vector in found.vectors}) > 1:
        raise WireFormatError(f"{len(found.vectors)} vectors for {count} texts, or of different lengths")
    return found


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """Several answers as one, in their order."""
    counts = [part.prompt_tokens for part in parts]
    known = [count for count in counts if count is not None]
    return Embeddings(
        tuple(vector for part in parts for vector in part.vectors),
        parts[0].model if parts else "",
        sum(known) if len(known) == len(counts) and known else None,
    )


def _read(document: Any) -> Embeddings:  # noqa: ANN401 - a JSON document
    if isinstance(document, list):
        return Embeddings(tuple(map(_vector, document)))
    ordered = sorted(document["data"], key=lambda each: each["index"])
    usage = document.get("usage") or {}
    vectors = tuple(_vector(each["embedding"]) for each in ordered)
    return Embeddings(vectors, str(document.get("model") or ""), usage.get("prompt_tokens"))


def _vector(numbers: Any) -> tuple[float, ...]:  # noqa: ANN401 - of a JSON document
    if not isinstance(numbers, list) or not numbers:
        raise TypeError("a vector is no list of numbers")
    return tuple(map(float, numbers))
