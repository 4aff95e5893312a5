"""HTML: the text that a reader sees, a block for each section; menus, scripts and styles are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llm_deploy.rag.loaders import Block, Document, UnreadableError
from llm_deploy.rag.loaders.encoding import text_of

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_LEFT_OUT = (
    "script", "style", "template", "noscript", "nav", "svg", "iframe", "object", "form", "button", "[hidden]",
    "[aria-hidden=true]",
)  # fmt: skip
_BREAK_TAGS = """
address article aside blockquote br dd div dl dt figcaption figure footer header hr li main ol p pre section table tr ul
"""
_BREAKS = frozenset(_BREAK_TAGS.split())
_CELLS = frozenset({"td", "th"})
_HEADING = re.compile(r"h[1-6]")
_MOST_TAGS = 50
_HEAD_BYTES = 2048
_DEEPEST = 400
"""Levels of elements; what is nested deeper comes out as its bare text."""


def load(source: str, data: bytes) -> Document:
    """See `Loader`."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError  # noqa: PLC0415 - part of an extra

    said = _CHARSET.search(data[:_HEAD_BYTES])
    try:
        tree = LexborHTMLParser(text_of(data, said=said.group(1).decode("ascii") if said else None))
    except SelectolaxError as error:
        raise UnreadableError(f"no HTML: {error}") from error
    title, language, tags = _facts(tree)
    for selector in _LEFT_OUT:
        for node in tree.css(selector):
            node.decompose()
    body = tree.css_first("main") or tree.css_first("article") or tree.body
    blocks = tuple(_Reader().blocks(body)) if body is not None else ()
    first = next((each.section for each in blocks if each.section), "").split(" > ")[0]
    return Document(source, "html", blocks, title=title or first, language=language, tags=tags)


def _facts(tree: object) -> tuple[str, str, tuple[str, ...]]:
    find = tree.css_first  # type: ignore[attr-defined]
    title, root, keywords = find("title"), find("html"), find("meta[name=keywords]")
    tags = (keywords.attributes.get("content") or "").split(",") if keywords else []
    language = (root.attributes.get("lang") or "") if root else ""
    return _line(title.text() if title else ""), language[:20], tuple(filter(None, map(_line, tags[:_MOST_TAGS])))


class _Reader:
    """Walks the elements in order and collects text until the next heading."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._parts: list[str] = []

    def blocks(self, body: LexborNode) -> Iterator[Block]:
        yield from self._walk(body, 0)
        yield self._done()

    def _walk(self, node: LexborNode, depth: int) -> Iterator[Block]:
        for child in node.iter(include_text=True):
            tag = child.tag or ""
            if tag == "-text":
                self._parts.append(child.text(deep=False) or "")
            elif _HEADING.fullmatch(tag):
                yield self._done()
                self._enter(int(tag[1]), _line(child.text()))
            elif depth >= _DEEPEST or tag == "pre":
                self._parts += ["\n\n", child.text() or "", "\n\n"]
            else:
                self._parts.append("\n\n" if tag in _BREAKS else " | " if tag in _CELLS else "")
                yield from self._walk(child, depth + 1)
                self._parts.append("\n" if tag in _BREAKS else "")

    def _enter(self, level: int, name: str) -> None:
        self._path = [each for each in self._path if each[0] < level] + [(level, name)]

    def _done(self) -> Block:
        text = re.sub(r"[^\S\n]+", " ", "".join(self._parts))
        self._parts = []
        return Block(
            re.sub(r" ?\n ?(?:\n ?)+", "\n\n", text).strip(), " > ".join(name for _, name in self._path if name)
        )


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
