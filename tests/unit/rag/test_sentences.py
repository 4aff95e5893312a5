"""Sentences: nothing is lost, and the usual traps do not end one."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from llm_deploy.rag.sentences import lines, sentences, spans

TEXTS = st.text(alphabet=st.sampled_from("abZ .!?\n-*1。(\"'`#|"), max_size=200)


@given(TEXTS)
def test_sentences_cover_all_that_is_not_space(text: str) -> None:
    """In order, apart from each other, none empty, and no visible character between them."""
    end = 0
    for start, stop in spans(text):
        assert start < stop
        assert not text[end:start].strip()
        assert text[start:stop] == text[start:stop].strip()
        end = stop
    assert not text[end:].strip()


@given(TEXTS)
def test_lines_cover_all_that_is_not_space(text: str) -> None:
    """The same of lines; their indentation stays."""
    assert " ".join(text[start:stop] for start, stop in lines(text)).split() == text.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("See e.g. Paris. Then go.", ["See e.g. Paris.", "Then go."]),
        ("Version 1.5 is out. It runs.", ["Version 1.5 is out.", "It runs."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("A list:\n* one\n* two", ["A list:", "* one", "* two"]),
        ("One paragraph\n\nanother", ["One paragraph", "another"]),
        ("一つ目。二つ目。", ["一つ目。", "二つ目。"]),
        ("wrapped\nline. Next.", ["wrapped\nline.", "Next."]),
    ],
)
def test_where_sentences_end(text: str, expected: list[str]) -> None:
    """Abbreviations and numbers do not end one; list items and paragraphs do."""
    assert sentences(text) == expected
