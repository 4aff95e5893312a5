"""YAML with the line of every value, and nothing of YAML that a spec has no use for.

Anchors and aliases, merge keys, tags, several documents, duplicate keys, deep nesting and large files are refused, so
that reading an untrusted file takes bounded time and memory and what is read is what a reviewer sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from llm_deploy.errors import SpecError
from llm_deploy.spec.problems import nearest
from llm_deploy.spec.rules import Path, dotted

LARGEST_FILE_BYTES = 64 * 1024
DEEPEST_NESTING = 12

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_FIELDS = frozenset({"environment", "tags"})
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq"))
_TEXT_TAGS = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})
_NULL_TAG = "tag:yaml.org,2002:null"
_CONSTRUCT = yaml.constructor.SafeConstructor()


@dataclass(frozen=True)
class Source:
    """A file as it was read.

    Attributes:
        name: The file, as the user named it.
        raw: Its content.
        lines: The line (from 1) of each value, by path.
    """

    name: str
    raw: dict[str, Any]
    lines: dict[Path, int] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """`file:line` of a value, or of the nearest thing around it that was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}"
        return f"{self.name}:1"


def read(path: FilePath) -> Source:
    """Read a spec file.

    Raises:
        SpecError: It is missing, too large, not UTF-8, not YAML, or uses what is refused here; with the line.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise SpecError(f"{path}: larger than {LARGEST_FILE_BYTES // 1024} KiB; this is no spec.")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file.", hint=_other_file(path)) from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}.") from error
    try:
        return parse(data.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start}).") from error


def parse(text: str, name: str) -> Source:
    """Read a spec from its text; `name` stands for the file in messages."""
    try:
        _refuse_what_is_not_plain(text, name)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        # libyaml points behind the end of a file that stops too early.
        line = min(error.problem_mark.line, text.rstrip().count("\n")) + 1 if error.problem_mark else 1
        raise SpecError(f"{name}:{line}: not valid YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{name}: not valid YAML: {error}.") from error
    if node is None:
        raise SpecError(f"{name}: the file is empty.", hint="Copy configs/twin.yaml and change it.")
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(f"{name}:{_line(node)}: expected fields (`name: ...`), found a {_kind(node)}.")
    reader = _Reader(name)
    raw = reader.value(node, ())
    if reader.problems:
        raise SpecError("\n".join(reader.problems))
    return Source(name, raw, reader.lines)


def _refuse_what_is_not_plain(text: str, name: str) -> None:
    """Walk the events first: they are cheap and flat, so that a hostile file cannot exhaust the composer."""
    depth = 0
    documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        where = f"{name}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise SpecError(f"{where}: anchors and aliases (& and *) are not taken; write the value out.")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise SpecError(f"{where}: a second document (---); one file is one deployment.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST_NESTING:
                raise SpecError(f"{where}: nested more than {DEEPEST_NESTING} deep.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """Turns nodes into values and keeps every value's line and every problem."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Path, int] = {}
        self.problems: list[str] = []

    def value(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401 - any YAML value
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            self._problem(node, f"{dotted(path)}: tags such as {node.tag} are not taken")
            return None
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*path, key)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                self._problem(key_node, f"{dotted(path) or 'the file'}: expected a plain field name")
            elif here in self.lines:
                self._problem(key_node, f"{dotted(here)}: written twice; the first is in line {self.lines[here]}")
            else:
                self.lines[here] = _line(key_node)
                yield key, self.value(value_node, here)

    def _item(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401 - any YAML value
        self.lines[path] = _line(node)
        return self.value(node, path)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401 - any YAML value
        if path and path[0] in _TEXT_FIELDS and len(path) > 1 and node.tag in _PLAIN_TAGS | _TEXT_TAGS:
            return "" if node.tag == _NULL_TAG else str(node.value)
        if node.tag in _TEXT_TAGS:
            return str(node.value)
        if node.tag not in _PLAIN_TAGS:
            self._problem(node, f"{dotted(path)}: tags such as {node.tag} are not taken")
            return None
        try:
            return _CONSTRUCT.construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._problem(node, f"{dotted(path)}: not a value")
            return None

    def _problem(self, node: yaml.Node, message: str) -> None:
        self.problems.append(f"{self.name}:{_line(node)}: {message}.")


def _kind(node: yaml.Node) -> str:
    return "list" if isinstance(node, yaml.SequenceNode) else "single value"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _other_file(path: FilePath) -> str:
    siblings = sorted(item.name for item in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    meant = nearest(path.name, siblings)
    if meant:
        return f"Did you mean {path.parent / meant}?"
    return f"{path.parent}/ holds {', '.join(siblings[:10])}." if siblings else "Copy one from the project's configs/."
