"""HTML: the text that a reader sees, a block for each section; menus, scripts and styles are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llm_deploy.rag.loaders import Block, Document, UnreadableError
from llm_deploy.rag.loaders.encoding import text_of

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

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
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_VOID_TAGS = "area base br col dd dt embed hr img input li link meta option p source tbody td tfoot th thead tr wbr"
_FORMAT_TAGS = "a b big code em font i nobr s small strike strong tt u"
_ENDS_ITSELF, _OPENED_AGAIN = frozenset(_VOID_TAGS.split()), frozenset(_FORMAT_TAGS.split())
"""The second are opened again in each paragraph where they were left open: nodes are made that nobody wrote."""
_MOST_NESTING, _MOST_OPENED_AGAIN = 250_000_000, 3_000_000
"""Sums of the depths of all tags, which is what parsing takes: a second, and a gigabyte. An honest page of 20 MB has
ten million, and half of one."""
_HEAD_BYTES = 2048
_DEEPEST = 400
"""Levels of elements; what is nested deeper comes out as its bare text."""


def load(source: str, data: bytes) -> Document:
    """See `Loader`."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError  # noqa: PLC0415 - part of an extra

    said = _CHARSET.search(data[:_HEAD_BYTES])
    text = text_of(data, said=said.group(1).decode("ascii") if said else None)
    _check_nesting(text)
    try:
        return _read(source, LexborHTMLParser(text))
    except SelectolaxError as error:
        raise UnreadableError(f"no HTML: {error}") from error


def _check_nesting(text: str) -> None:
    depth = again = work = nodes = 0
    for closes, name in _TAG.findall(text):
        step = -1 if closes else 1
        if name.lower() in _OPENED_AGAIN:
            again = max(0, again + step)
        if name.lower() not in _ENDS_ITSELF:
            depth = max(0, depth + step)
        work, nodes = work + depth, nodes + again
    if work > _MOST_NESTING or nodes > _MOST_OPENED_AGAIN:
        raise UnreadableError("nested too deeply")


def _read(source: str, tree: LexborHTMLParser) -> Document:
    title, language, tags = _facts(tree)
    for selector in _LEFT_OUT:
        for node in tree.css(selector):
            if node.parent is not None and node.parent.tag != "-document":
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
