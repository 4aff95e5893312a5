"""Passages: all text, in order, of the size that was asked for."""

from __future__ import annotations

import asyncio
from itertools import count, islice

from hypothesis import given, settings, strategies as st

from llm_deploy.rag.chunking import passages
from llm_deploy.rag.config import ChunkConfig
from llm_deploy.rag.loaders import Block, Document
from llm_deploy.rag.passages import Passage
from tests.fakes.rag import WordEmbedder


def numbered(lengths: list[int]) -> str:
    """Sentences of so many words, no two words alike."""
    words = (f"W{n}" for n in count())
    return " ".join(" ".join(islice(words, length)) + "." for length in lengths)


TEXTS = st.lists(st.integers(1, 30), min_size=1, max_size=12).map(numbered)


def cut(document: Document, tokens: int, overlap: int) -> list[Passage]:
    config = ChunkConfig(tokens=tokens, overlap=overlap)
    return asyncio.run(passages(document, config, WordEmbedder().count_tokens, most_tokens=256))


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(16, 60), st.integers(0, 8), st.sampled_from(["text", "code"]))
def test_every_word_is_in_a_passage_and_none_is_too_long(text: str, tokens: int, overlap: int, kind: str) -> None:
    """Passages are slices of the text in order; together they hold all of it; with their heading they fit."""
    found = cut(Document("s", kind, (Block(text, "Part"),), title="Title"), tokens, overlap)
    end = 0
    for each in found:
        start = text.find(each.text)
        assert start >= 0
        assert not text[end:start].strip()
        assert len(each.embedded.split()) + 2 <= tokens
        end = max(end, start + len(each.text))
    assert not text[end:].strip()
    assert [each.ordinal for each in found] == list(range(len(found)))


def test_passages_repeat_the_last_sentences_of_the_one_before() -> None:
    """At most as many tokens as were asked for."""
    text = " ".join(f"Sentence number {n} ends." for n in range(12))
    found = cut(Document("s", "text", (Block(text),)), 20, 4)
    assert found[0].text.split(". ")[-1].strip(".") in found[1].text


def test_a_passage_stays_in_its_section_and_page() -> None:
    """Two short sections are two passages, with their own section and page."""
    blocks = (Block("One.", "A", 1), Block("Two.", "B", 2))
    found = cut(Document("s", "pdf", blocks, title="T"), 60, 0)
    assert [(each.text, each.section, each.page) for each in found] == [("One.", "A", 1), ("Two.", "B", 2)]
    assert found[0].heading == "T > A"


def test_a_word_longer_than_a_passage_is_cut() -> None:
    """Without spaces it is cut where it has to be: nothing is endless and nothing is lost."""
    text = "x" * 50_000
    found = asyncio.run(
        passages(Document("s", "text", (Block(text),)), ChunkConfig(tokens=64, overlap=0), _letters, most_tokens=64)
    )
    assert "".join(each.text for each in found) == text
    assert max(len(each.text) for each in found) <= 64 * 4


async def _letters(texts: object) -> list[int]:
    return [len(str(text)) // 4 + 2 for text in texts]  # type: ignore[attr-defined]
