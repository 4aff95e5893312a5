"""Requests and answers of an embedding server: OpenAI's `/v1/embeddings`, TEI's `/embed` and `/rerank`.

Source: huggingface/text-embeddings-inference, router/src/http of 1.8 (bodies, statuses, texts of the refusals);
OpenAI's API reference, "Create embeddings".
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from llm_deploy.serving.embedding import EmbeddingEngine, Input, Side
from llm_deploy.serving.rerank import likenesses, score
from llm_deploy.serving.shapes.asked import ShapeError
from llm_deploy.serving.shapes.fields import Fields
from llm_deploy.serving.shapes.openai import error as openai_error

MAX_OPENAI_INPUTS = 2048
_BAD, _EMPTY_STATUS, _VALIDATION, _UNREADABLE = 400, 400, 413, 422
_TEI_TYPES = {400: "Empty", 413: "Validation", 422: "Tokenizer", 424: "Backend", 429: "Overloaded", 503: "Unhealthy"}

Answer = tuple[Any, int]
"""The document, and how many tokens were read for it."""

Work = Callable[[EmbeddingEngine], Any]


class EmbeddingDialect(Protocol):
    """One way to ask and to be answered."""

    @property
    def invalid_status(self) -> int:
        """For an input that only the engine can tell is wrong."""

    @property
    def failed_status(self) -> int:
        """For an engine that failed."""

    @property
    def wrong_model_status(self) -> int:
        """For a request that this kind of model has no answer to."""

    async def answer(self, body: object, engine: EmbeddingEngine) -> Answer:
        """Check a body, compute, and write the answer.

        Raises:
            ShapeError: The body is wrong.
            InferenceRequestError: An input is.
            InferenceError: The engine failed.
        """

    def error(self, message: str, status: int) -> Any:  # noqa: ANN401 - a JSON document
        """The document for a refusal."""


@dataclass(frozen=True, slots=True)
class OpenAiEmbeddings:
    """OpenAI's embeddings.

    Attributes:
        model: The served name, which any `model` in a request stands for, as in TEI.
    """

    model: str
    invalid_status: int = _BAD
    failed_status: int = 500
    wrong_model_status: int = _BAD

    async def answer(self, body: object, engine: EmbeddingEngine) -> Answer:
        """See `EmbeddingDialect`."""
        fields = Fields(body, status=_BAD)
        if "input" not in fields and ("messages" in fields or "prompt" in fields):
            raise ShapeError(no_generation(self.model), _BAD)
        inputs = _openai_inputs(fields)
        _check_dimensions(fields, engine)
        encode = _encoder(fields)
        embedded = await engine.run(inputs)
        data = [
            {"object": "embedding", "index": number, "embedding": encode(vector)}
            for number, vector in enumerate(embedded.vectors)
        ]
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        return {"object": "list", "data": data, "model": self.model, "usage": usage}, embedded.tokens

    def error(self, message: str, status: int) -> Any:  # noqa: ANN401 - see the protocol
        """See `EmbeddingDialect`."""
        return openai_error(message, status)


@dataclass(frozen=True, slots=True)
class _Tei:
    """What TEI's routes share.

    Attributes:
        max_batch: Most texts in a request.
        truncate: What `truncate` is when a request does not say.
    """

    max_batch: int = 32
    truncate: bool = False
    invalid_status: int = _VALIDATION
    failed_status: int = 424
    wrong_model_status: int = 424

    def error(self, message: str, status: int) -> Any:  # noqa: ANN401 - see the protocol
        """See `EmbeddingDialect`."""
        kind = _TEI_TYPES.get(status, "Backend")
        words = f"Input validation error: {message}" if kind == "Validation" else message
        return {"error": words, "error_type": kind}

    def _cut(self, fields: Fields) -> Side | None:
        direction = (fields.text("truncation_direction") or "Right").lower()
        if direction not in {"left", "right"}:
            raise ShapeError("`truncation_direction` must be Left or Right", _UNREADABLE)
        side: Literal["left", "right"] = "left" if direction == "left" else "right"
        return side if fields.boolean("truncate", default=self.truncate) else None

    def _checked(self, inputs: Sequence[Input], name: str) -> Sequence[Input]:
        if not inputs:
            raise ShapeError(f"`{name}` cannot be empty", _EMPTY_STATUS)
        if len(inputs) > self.max_batch:
            raise ShapeError(f"batch size {len(inputs)} > maximum allowed batch size {self.max_batch}", _VALIDATION)
        if not all(inputs):
            raise ShapeError(f"`{name}` cannot be empty", _VALIDATION)
        return inputs


@dataclass(frozen=True, slots=True)
class TeiEmbed(_Tei):
    """TEI's `/embed`: `inputs` in, a list of vectors out."""

    async def answer(self, body: object, engine: EmbeddingEngine) -> Answer:
        """See `EmbeddingDialect`."""
        fields = Fields(body)
        inputs = self._checked(_inputs(fields.get("inputs"), "inputs", _UNREADABLE), "inputs")
        _check_dimensions(fields, engine, status=_VALIDATION)
        normalize = fields.boolean("normalize", default=True)
        embedded = await engine.run(inputs, cut=self._cut(fields), normalize=normalize)
        return embedded.vectors, embedded.tokens


@dataclass(frozen=True, slots=True)
class TeiRerank(_Tei):
    """TEI's `/rerank`: a query and texts in, ranks out. The scores are `rerank`'s, from 0 to 1.

    With `raw_scores` they are likenesses, which go down to -1.
    """

    async def answer(self, body: object, engine: EmbeddingEngine) -> Answer:
        """See `EmbeddingDialect`."""
        fields = Fields(body)
        query, texts = fields.text("query"), _inputs(fields.get("texts"), "texts", _UNREADABLE)
        words = [each for each in self._checked(texts, "texts") if isinstance(each, str)]
        if not query or len(words) < len(texts):
            raise ShapeError("`query` must be a text that is not empty, and `texts` a list of texts", _UNREADABLE)
        found, tokens = await likenesses(engine, query, words, cut=self._cut(fields))
        raw, with_text = fields.boolean("raw_scores"), fields.boolean("return_text")
        order = sorted(range(len(words)), key=lambda index: -found[index])
        return [
            {"index": index, "score": found[index] if raw else score(found[index])}
            | ({"text": words[index]} if with_text else {})
            for index in order
        ], tokens


def no_generation(model: str) -> str:
    """What an embedding model says to whom wants text from it."""
    return f"{model} is an embedding model and generates no text: ask /v1/embeddings, /embed or /rerank"


def _openai_inputs(fields: Fields) -> Sequence[Input]:
    inputs = _inputs(fields.get("input"), "input", _BAD)
    if not inputs or not all(inputs):
        raise ShapeError("`input` cannot be an empty string or an empty list", _BAD)
    if len(inputs) > MAX_OPENAI_INPUTS:
        raise ShapeError(f"`input` may hold {MAX_OPENAI_INPUTS} inputs. Given: {len(inputs)}", _BAD)
    return inputs


def _inputs(value: object, name: str, status: int) -> Sequence[Input]:
    """A text, token ids, or a list of either; a list of numbers is one input."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        if value and all(_is_id(each) for each in value):
            return [value]
        if all(isinstance(each, str) or (isinstance(each, list) and all(map(_is_id, each))) for each in value):
            return value
    raise ShapeError(f"`{name}` must be a text, a list of texts, or token ids", status)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _check_dimensions(fields: Fields, engine: EmbeddingEngine, *, status: int = _BAD) -> None:
    """Shortening is for models that were trained for it, and this one was not."""
    wanted = fields.integer("dimensions")
    if wanted is not None and wanted != engine.dimensions:
        message = (
            f"this model's vectors have {engine.dimensions} dimensions and cannot be shortened: leave `dimensions` out"
        )
        raise ShapeError(message, status)


def _encoder(fields: Fields) -> Callable[[list[float]], str | list[float]]:
    wanted = fields.text("encoding_format") or "float"
    if wanted not in {"float", "base64"}:
        raise ShapeError(f"`encoding_format` must be float or base64. Given: {wanted!r}", _BAD)
    return _as_base64 if wanted == "base64" else list


def _as_base64(vector: list[float]) -> str:
    """32-bit floats, little-endian, as OpenAI's clients read them."""
    return base64.b64encode(array("f", vector).tobytes()).decode()
