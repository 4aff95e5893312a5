"""Passages as a context that fits a budget and cannot be mistaken for instructions.

The fence's tag carries a number drawn for this prompt, so that no document can close it. What looks like a fence, a
chat template's role marker or another control token is broken up in the text itself, since an engine that reads special
tokens out of plain text would let a document end the user's turn.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from llm_deploy.rag.passages import Hit, Passage

TAG = "passages"
_WORDS = """
    bos eos pad unk sop sep bos_token eos_token start_of_turn end_of_turn start_of_image system user human assistant ai
    tool_call tool_calls tool_response tool_result tool_results function_call function_calls think thinking
"""
_CONTROL = re.compile(
    r"<\|[^<>\n]{0,80}\|>|<\uff5c[^<>\n]{0,80}\uff5c>|\[\|[^\[\]\n]{0,40}\|\]|</?s>|<</?SYS>>"
    r"|\[/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK)\]|(?-i:\[/?[A-Z]{3,}(?:_[A-Z]+)*\])"
    rf"|</?(?:{'|'.join(_WORDS.split())}|(?:extra_id|unused|reserved)_?\d+|seed:[a-z:_]{{1,40}})>"
    rf"|</?\s*{TAG}[^<>\n]{{0,80}}>",
    re.IGNORECASE,
)
"""Marks of ChatML, Llama 2 to 4, Mistral, Gemma, DeepSeek, Phi, Qwen, Cohere, EXAONE, Nemotron, ChatGLM and Seed, and
anything like our own fence."""

_ROLES = "system|user|human|assistant|instruction|response|input"
_TURN = re.compile(
    rf"^([^\S\n]*(?:#{{1,6}}[^\S\n]*(?i:{_ROLES})|SYSTEM|USER|ASSISTANT|HUMAN|Human|Assistant)):", re.MULTILINE
)
"""What begins a turn in templates without marks: Alpaca's `### Response:`, Vicuna's `ASSISTANT:`."""

_LOOKALIKES = str.maketrans("<>[]|\uff5c", "\u2039\u203a\u27e6\u27e7\u00a6\u00a6")

_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
"""What no reader sees and a model does: invisible tags, marks of direction, spaces without width, other line ends."""
_LINE_ENDS = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]")

_HEAD = re.compile(r"^[^\S\n]*[\[\uff3b\u3010]\s*\d+\s*[\]\uff3d\u3011]", re.MULTILINE)
"""What begins each passage in a prompt; a document must not begin another one."""
_HEADS = str.maketrans("[]\uff3b\uff3d\u3010\u3011", "\u27e6\u27e7\u27e6\u27e7\u27e6\u27e7")

_MOST_CHARACTERS_PER_TOKEN = 8
"""Of a language model, at most. An embedding model that does not know a script counts a line of it as one token."""

_SPACE = re.compile(r"\s+")

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
    """The text with other, similar signs where a chat template or our fence could read a mark, and nothing unseen.

    Idempotent.
    """
    text = _UNSEEN.sub("", _LINE_ENDS.sub("\n", text))
    text = _TURN.sub("\\1\u2236", text)
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

    Tokens are those of the embedding model: the language model's own differ by some percent. Eight characters count as
    one at least, since an embedding model may count a whole line that it cannot read as one.
    """
    kept: list[Hit] = []
    left = tokens
    costs = await _costs(hits, count)
    for hit, cost in zip(hits, costs, strict=True):
        if cost <= left:
            kept.append(hit)
            left -= cost
    if hits and not kept:
        kept = [await _cut(hits[0], tokens, costs[0], count)]
    name = fence_name()
    return Context(to_context(kept, fence=name), tuple(_citation(n, hit) for n, hit in enumerate(kept, 1)), name)


def block(number: int, passage: Passage) -> str:
    """A passage with its number and where it is from, free of control tokens and of lines that look like this head."""
    page = f", page {passage.page}" if passage.page else ""
    text = _HEAD.sub(lambda found: found.group().translate(_HEADS), harmless(passage.text))
    return harmless(f"[{number}] {_line(passage.heading or passage.source)} ({_line(passage.source)}{page})\n{text}")


def _fenced(blocks: Sequence[str], fence: str) -> str:
    return "\n\n".join([f"<{fence}>", *blocks, f"</{fence}>"])


def _line(text: str) -> str:
    return " ".join(text.split())


async def _costs(hits: Sequence[Hit], count: Count) -> list[int]:
    blocks = [block(number, hit.passage) for number, hit in enumerate(hits, 1)]
    counted = await count(blocks)
    return [
        max(tokens, len(_SPACE.sub(" ", each)) // _MOST_CHARACTERS_PER_TOKEN)
        for tokens, each in zip(counted, blocks, strict=True)
    ]


async def _cut(hit: Hit, tokens: int, cost: int, count: Count) -> Hit:
    """The hit with the beginning of its text; without any where its heading alone is too long."""
    text = hit.passage.text
    while cost > tokens and text:
        text = text[: int(len(text) * tokens / cost * 0.9)].rpartition(" ")[0]
        hit = replace(hit, passage=replace(hit.passage, text=f"{text} …"))
        cost = (await _costs([hit], count))[0]
    return hit


def _citation(number: int, hit: Hit) -> Citation:
    found = hit.passage
    return Citation(number, found.source, found.title, found.section, found.page, hit.score, found.text)
