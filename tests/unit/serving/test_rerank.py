"""Sentences, and how texts are compared by them; without a model."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from llm_deploy.serving.rerank import late_interaction, score
from llm_deploy.serving.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One sentence that is long. Another one, as long!", ["One sentence that is long.", "Another one, as long!"]),
        ("Short.", ["Short."]),
        ("", [""]),
        ("It is by Dr. Smith of the university.", ["It is by Dr. Smith of the university."]),
        ("A first line of a list:\n- an item that is long\n- another item, long", 3),
        ("他今天去了北京大学图书馆看书学习了很久。他今天又去了上海大学图书馆看书学习。", 2),
        ("A paragraph with no end\n\nAnother paragraph, no end", 2),
        ("It is a sentence, surely. No.", ["It is a sentence, surely. No."]),
    ],
)  # fmt: skip
def test_sentences(text: str, expected: list[str] | int) -> None:
    """Ends, list items and blank lines split; what is too short to mean something stays with its neighbour."""
    found = sentences(text)
    assert (len(found) if isinstance(expected, int) else found) == expected


@given(st.text(max_size=200))
def test_no_word_is_lost(text: str) -> None:
    """Whatever the text: the sentences hold its words in their order, and there is at least one."""
    found = sentences(text)
    assert found
    assert "".join("".join(found).split()).replace(" ", "") == "".join(text.split()).replace(" ", "")


def test_one_sentence_that_answers_is_enough() -> None:
    """The best one counts, for each sentence of the query."""
    east, north, west = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
    assert late_interaction([east], [west, north, east]) == 1
    assert late_interaction([east, north], [east]) == 0.5
    assert late_interaction([east], [west]) == -1


@given(st.floats(-1.0000001, 1.0000001))
def test_scores_are_between_0_and_1_and_keep_the_order(likeness: float) -> None:
    """Also where rounding makes a cosine a little larger than 1."""
    assert 0 <= score(likeness) <= 1
    assert score(likeness) <= score(math.nextafter(likeness, 2))
