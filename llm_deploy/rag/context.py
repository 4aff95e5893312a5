"""Passages as a context that fits a budget and cannot be mistaken for instructions.

The fence's tag carries a number drawn for this prompt, so that no document can close it. What looks like a fence, a
chat template's role marker or another control token is broken up in the text itself, since an engine that reads special
tokens out of plain text would let a document end the user's turn.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from llm_deploy.rag.passages import Hit, Passage

TAG = "passages"
_CONTROL = re.compile(
    r"<\|[^<>\n]{0,80}\|>|<\uff5c[^<>\n]{0,80}\uff5c>|</?s>|\[/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"
    r"|</?(?:bos|eos|pad|unk|start_of_turn|end_of_turn|system|user|assistant|tool_call|tool_response|think)>"
    rf"|</?\s*{TAG}[^<>\n]{{0,80}}>",
    re.IGNORECASE,
)
"""Role markers of ChatML, Llama 2 and 3, Mistral, Gemma, DeepSeek, Phi and Qwen, and anything like our own fence."""

_LOOKALIKES = str.maketrans("<>[]|\uff5c", "\u2039\u203a\u27e6\u27e7\u00a6\u00a6")

_HEAD = re.compile(r"^[^\S\n]*\[\d+\]", re.MULTILINE)
"""What begins each passage in a prompt; a document must not begin another one."""

Count = Callable[[Sequence[str]], Awaitable[list[int]]]


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that is in a prompt, under its number."""

    n: int
    source: str
    title: str
    section: str
    page: int | None
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """What goes into a prompt, and what the numbers in it stand for."""

    text: str
    citations: tuple[Citation, ...]
    fence: str


def harmless(text: str) -> str:
    """The text with other, similar brackets where a chat template or our fence could read a mark. Idempotent."""
    while (changed := _CONTROL.sub(lambda found: found.group().translate(_LOOKALIKES), text)) != text:
        text = changed  # a mark inside a mark
    return text


def fence_name() -> str:
    """A tag that nobody could have written into a document before."""
    return f"{TAG}-{secrets.token_hex(6)}"


def to_context(hits: Iterable[Hit | Passage], *, fence: str | None = None) -> str:
    """The passages with numbers, between a fence's tags; all of them, whatever they cost."""
    passages = [each.passage if isinstance(each, Hit) else each for each in hits]
    return _fenced([block(number, each) for number, each in enumerate(passages, 1)], fence or fence_name())


async def fitting(hits: Sequence[Hit], tokens: int, count: Count) -> Context:
    """As many of the best passages as fit into so many tokens; the first is cut where even it is too long.

    Tokens are those of the embedding model: the language model's own differ by some percent.
    """
    kept: list[Hit] = []
    left = tokens
    costs = await count([block(number, hit.passage) for number, hit in enumerate(hits, 1)])
    for hit, cost in zip(hits, costs, strict=True):
        if cost <= left:
            kept.append(hit)
            left -= cost
    if hits and not kept:
        kept = [_cut(hits[0], tokens / costs[0])]
    name = fence_name()
    return Context(to_context(kept, fence=name), tuple(_citation(n, hit) for n, hit in enumerate(kept, 1)), name)


def block(number: int, passage: Passage) -> str:
    """A passage with its number and where it is from, free of control tokens and of lines that look like this head."""
    page = f", page {passage.page}" if passage.page else ""
    text = _HEAD.sub(lambda found: found.group().translate(_LOOKALIKES), passage.text)
    return harmless(f"[{number}] {_line(passage.heading or passage.source)} ({_line(passage.source)}{page})\n{text}")


def _fenced(blocks: Sequence[str], fence: str) -> str:
    return "\n\n".join([f"<{fence}>", *blocks, f"</{fence}>"])


def _line(text: str) -> str:
    return " ".join(text.split())


def _cut(hit: Hit, share: float) -> Hit:
    from dataclasses import replace  # noqa: PLC0415 - rare

    text = hit.passage.text[: int(len(hit.passage.text) * share * 0.9)]
    return replace(hit, passage=replace(hit.passage, text=text.rsplit(" ", 1)[0] + " …"))


def _citation(number: int, hit: Hit) -> Citation:
    found = hit.passage
    return Citation(number, found.source, found.title, found.section, found.page, hit.score, found.text)
