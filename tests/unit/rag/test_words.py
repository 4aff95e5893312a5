"""Terms and BM25's weights."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from llm_deploy.rag.words import passage_vector, query_vector, terms


@pytest.mark.parametrize(
    ("one", "other"),
    [("roll back deployments", "rolling-back deployment"), ("Alarms", "alarm"), ("policies", "policy")],
)
def test_endings_do_not_matter(one: str, other: str) -> None:
    """Plural and singular meet, and so do the forms of a verb."""
    assert set(terms(one)) <= set(terms(other))


def test_identifiers_are_found_whole_and_in_parts() -> None:
    """`max_new_tokens` is found by its name, and by the words in it."""
    found = set(terms("set maxNewTokens or max_new_tokens"))
    assert {"max-new-tokens", "maxnewtokens", "max", "new", "token"} <= found


def test_common_words_are_left_out() -> None:
    """A question's filling would match everything."""
    assert list(terms("what is the")) == []


@given(st.text(max_size=300))
def test_vectors_are_as_qdrant_wants_them(text: str) -> None:
    """Places ascend, each once, in 32 bits; weights are positive; the query has the passage's places."""
    passage, query = passage_vector(text), query_vector(text)
    assert passage.indices == sorted(set(passage.indices)) == query.indices
    assert all(0 <= place < 2**32 for place in passage.indices)
    assert all(weight > 0 for weight in passage.values)


def test_a_long_passage_weighs_less() -> None:
    """The same mention counts less among many words."""
    short = passage_vector("alarm")
    long = passage_vector("alarm " + " ".join(f"word{n}" for n in range(300)))
    assert dict(zip(*long, strict=True))[short.indices[0]] < short.values[0]
