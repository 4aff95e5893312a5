"""Vectors asked for and read, in both shapes."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, strategies as st

from llm_deploy.dialects import embeddings
from llm_deploy.dialects.types import Embeddings
from llm_deploy.errors import InferenceError, InferenceRequestError, OverloadedError, WireFormatError

pytestmark = pytest.mark.row("T5")

VECTORS = st.integers(1, 5).flatmap(
    lambda size: st.lists(
        st.lists(st.floats(-1, 1, allow_nan=False), min_size=size, max_size=size).map(tuple), min_size=1, max_size=5
    )
)


@given(VECTORS, st.randoms())
def test_both_shapes_read_alike(vectors: list[tuple[float, ...]], random: Random) -> None:
    """OpenAI's entries may come in any order; their index counts."""
    entries = [{"index": index, "embedding": list(vector)} for index, vector in enumerate(vectors)]
    random.shuffle(entries)
    openai = embeddings.decode(json.dumps({"data": entries, "model": "m"}).encode(), len(vectors))
    assert openai.vectors == embeddings.decode(json.dumps(vectors).encode(), len(vectors)).vectors == tuple(vectors)


def test_what_is_sent() -> None:
    """OpenAI's word and TEI's; only the first has a place for the model."""
    assert json.loads(embeddings.encode(["a"], shape="openai", model="m")) == {"input": ["a"], "model": "m"}
    assert json.loads(embeddings.encode(["a"], shape="tei", model="m")) == {"inputs": ["a"]}


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"[1]", b"[[]]", b'[["a"]]', b"[[1],[1,2]]", b"[[1]]", b'{"data": [{"embedding": [1]}]}',
     b'{"data": 3}', b"[[1],[2],[3]]", b"[[1],null]", b"\xff"],
)  # fmt: skip
def test_what_is_no_such_answer_is_a_wire_format_error(body: bytes) -> None:
    """Another shape, another number of vectors, or vectors of different lengths."""
    with pytest.raises(WireFormatError):
        embeddings.decode(body, 2)


def test_an_error_with_status_200_is_an_error() -> None:
    """As of answers."""
    with pytest.raises(OverloadedError):
        embeddings.decode(b'{"error": "full", "error_type": "overloaded"}', 1)
    with pytest.raises(InferenceError):
        embeddings.decode(b'{"error": "broken"}', 1)


def test_an_empty_text_is_refused() -> None:
    """Before it is sent: engines fail in different ways."""
    with pytest.raises(InferenceRequestError):
        embeddings.encode(["a", ""], shape="tei")


def test_parts_are_joined_in_order() -> None:
    """Counts are added if all are known."""
    one, two = Embeddings(((1.0,),), "m", 2), Embeddings(((2.0,),), "m", 3)
    assert embeddings.joined([one, two]) == Embeddings(((1.0,), (2.0,)), "m", 5)
    assert embeddings.joined([one, Embeddings(((2.0,),), "m", None)]).prompt_tokens is None
    assert embeddings.joined([]) == Embeddings(())
