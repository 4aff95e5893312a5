"""Source code: a block for each function, class or declaration at the top level, with its name as the section.

Python is read by its own parser. Other languages by the shape of a line that begins a declaration; a wrong guess costs
a boundary in an odd place, never text.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath

from llm_deploy.rag.loaders import Block, Document
from llm_deploy.rag.loaders.encoding import text_of

LANGUAGES = {
    ".py": "python", ".pyi": "python", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript",
    ".jsx": "javascript", ".ts": "typescript", ".tsx": "typescript", ".go": "go", ".rs": "rust", ".java": "java",
    ".kt": "kotlin", ".scala": "scala", ".cs": "csharp", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp",
    ".hpp": "cpp", ".swift": "swift", ".rb": "ruby", ".php": "php", ".sh": "shell", ".bash": "shell", ".sql": "sql",
    ".tf": "hcl", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".lua": "lua", ".r": "r", ".jl": "julia",
}  # fmt: skip

_WORDS = r"""
    async abstract class const def enum export extension extern fn final fun func function impl interface internal local
    macro mod module namespace object override package partial private protected protocol pub public record resource
    sealed static struct sub trait type typedef union variable data output provider virtual void create alter
"""
_NAME = r"[\"']?([A-Za-z_$][\w$.:-]*)[\"']?"
_DECLARATION = re.compile(rf"(?:(?:{'|'.join(_WORDS.split())})(?:\([^)\n]*\))?[ \t*&]+)+{_NAME}", re.IGNORECASE)
_C_FUNCTION = re.compile(r"(?:[A-Za-z_][\w:<>,]*[ \t*&]+)+([A-Za-z_~][\w:~]*)\s*\([^;]*$")
_KEY = re.compile(r"\[+([\w.\"'-]+)\]+|([\w.-]+)\s*:(?:\s|$)")
_KEYED = frozenset({"yaml", "toml"})
_C_LIKE = frozenset({"c", "cpp", "java", "csharp"})
_LARGEST_PARSED = 300_000
"""Characters up to which Python is parsed: its trees take 600 bytes for each, and no file by hand is as long."""
_LARGE_CLASS_LINES = 60
"""A class up to this long stays one block; a longer one is cut at its methods."""


def load(source: str, data: bytes) -> Document:
    """See `Loader`."""
    text = text_of(data)
    language = LANGUAGES[PurePosixPath(source).suffix.lower()]
    starts = _python(text) if language == "python" else None
    if starts is None:
        starts = list(_guessed(text, language))
    return Document(source, "code", tuple(_blocks(text, starts)), language=language)


def _blocks(text: str, starts: list[tuple[int, str]]) -> Iterator[Block]:
    """From each start (a line's number from 0, and a name) to the next; comments right above go with what follows."""
    lines = text.split("\n")
    begin, section = 0, ""
    for number, name in starts:
        top = _with_comments(lines, number, begin)
        yield Block("\n".join(lines[begin:top]).strip("\n"), section)
        begin, section = top, name
    yield Block("\n".join(lines[begin:]).strip("\n"), section)


def _with_comments(lines: list[str], number: int, lowest: int) -> int:
    while number > lowest and re.match(r"\s*(?:#|//|/\*|\*|--|@|\[)", lines[number - 1]):
        number -= 1
    return number


def _python(text: str) -> list[tuple[int, str]] | None:
    if len(text) > _LARGEST_PARSED:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in somebody else's strings
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return [found for node in tree.body for found in _definitions(node, "")]


def _definitions(node: ast.stmt, prefix: str) -> Iterator[tuple[int, str]]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    first = min((each.lineno for each in node.decorator_list), default=node.lineno)
    yield first - 1, prefix + node.name
    if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno > _LARGE_CLASS_LINES:
        for child in node.body:
            yield from _definitions(child, f"{prefix}{node.name}.")


def _guessed(text: str, language: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n")):
        if not line or line[0].isspace():
            continue
        if name := _name(line[:300], language):
            yield number, name


def _name(line: str, language: str) -> str | None:
    if language in _KEYED:
        found = _KEY.match(line)
        return (found.group(1) or found.group(2)).strip("\"'") if found else None
    found = _DECLARATION.match(line) or (_C_FUNCTION.match(line) if language in _C_LIKE else None)
    return found.group(1) if found else None
