"""Markdown: a block for each section, with the headings above it; title, tags and language from its front matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from llm_deploy.rag.loaders import DAMAGED, Block, Document
from llm_deploy.rag.loaders.encoding import text_of

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_LONGEST_FRONT_MATTER = 64 * 1024
_LONGEST_FIELD = 200
_MOST_TAGS = 50


def load(source: str, data: bytes) -> Document:
    """See `Loader`."""
    fields, body = _split(text_of(data))
    blocks = list(_blocks(body))
    title = _text(fields.get("title")) or next((each.section for each in blocks if each.section), "")
    title = title.split(" > ")[0]
    return Document(
        source,
        "markdown",
        tuple(Block(each.text, _below(title, each.section)) for each in blocks),
        title=title,
        language=_text(fields.get("lang") or fields.get("language")),
        tags=_tags(fields.get("tags") or fields.get("keywords")),
    )


def _split(text: str) -> tuple[dict[str, Any], str]:
    """Front matter's fields and the rest; what only looks like front matter is text."""
    import yaml  # noqa: PLC0415 - few files have any

    found = _FRONT_MATTER.match(text[:_LONGEST_FRONT_MATTER])
    if found is None:
        return {}, text
    try:
        fields = yaml.safe_load(found.group(1))
    except (yaml.YAMLError, *DAMAGED):
        return {}, text
    return (fields, text[found.end() :]) if isinstance(fields, dict) else ({}, text)


def _blocks(text: str) -> Iterator[Block]:
    """The lines between two headings; a `#` in a fence of code is none."""
    lines = text.split("\n")
    path: list[tuple[int, str]] = []
    start = 0
    for level, name, begin, end in _headings(text):
        yield _block(lines[start:begin], path)
        path = [each for each in path if each[0] < level] + [(level, name)]
        start = end
    yield _block(lines[start:], path)


def _headings(text: str) -> Iterator[tuple[int, str, int, int]]:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - part of an extra

    tokens = MarkdownIt("commonmark").parse(text)
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.map is not None and token.level == 0:
            inline = tokens[at + 1]
            name = "".join(child.content for child in inline.children or () if child.type in {"text", "code_inline"})
            yield int(token.tag[1]), name.strip(), token.map[0], token.map[1]


def _block(lines: list[str], path: list[tuple[int, str]]) -> Block:
    return Block("\n".join(lines).strip("\n"), " > ".join(name for _, name in path if name))


def _below(title: str, section: str) -> str:
    """The section without the title that it begins with: both are shown together."""
    return section.removeprefix(title).removeprefix(" > ") if section.startswith((f"{title} > ", title)) else section


def _text(value: Any) -> str:  # noqa: ANN401 - anything YAML holds
    if isinstance(value, int) and value.bit_length() > _LONGEST_FIELD:
        return ""  # Python refuses to write out very long numbers
    return " ".join(str(value).split())[:_LONGEST_FIELD] if isinstance(value, str | int | float) else ""


def _tags(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - as above
    given = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(dict.fromkeys(tag for tag in map(_text, given[:_MOST_TAGS]) if tag))
