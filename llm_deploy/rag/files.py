"""The files under a folder that may be ingested, and a note for each that may not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llm_deploy.errors import MissingExtraError, NotFoundError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

ALWAYS_LEFT_OUT = (
    ".git/", ".hg/", ".svn/", "__pycache__/", "node_modules/", ".venv/", "venv/", ".tox/", ".mypy_cache/",
    ".ruff_cache/", ".pytest_cache/", ".hypothesis/", ".idea/", ".vscode/", ".DS_Store", ".env", ".env.*", "*.pem",
    "*.key", "id_rsa*", "*.lock", "package-lock.json", "*.min.js", "*.min.css", "*.map",
)  # fmt: skip
"""Other people's code, caches, secrets and generated files; `--exclude '!*.lock'` takes a pattern back."""
IGNORE_FILES = (".gitignore", ".ragignore")
DEEPEST_FOLDERS = 64
_LARGEST_IGNORE_FILE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A file to ingest. `source` is its name in the collection, `modified` ISO 8601 in UTC."""

    path: Path
    source: str
    size_bytes: int
    modified: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not ingested, and why. `kept`: it may well be there, so what is stored of it must not be deleted."""

    source: str
    reason: Literal["too large", "link", "no file", "unreadable", "too deep"]
    kept: bool = False


@dataclass(frozen=True, slots=True)
class _Rules:
    """Patterns of one folder; paths are matched relative to it."""

    folder: Path
    patterns: GitIgnoreSpec


class Walk:
    """All files under a root, in a stable order.

    Links are not followed: what they lead to is either in the root already, or outside of what was asked for.

    Args:
        root: A folder, or a single file.
        name: What sources begin with; the folder's own name if it is not said.
        exclude: Patterns in the words of .gitignore; `!pattern` takes back.
        largest_bytes: Files above it are left out.

    Raises:
        NotFoundError: There is nothing at `root`.
    """

    def __init__(
        self, root: Path, *, name: str | None = None, exclude: Sequence[str] = (), largest_bytes: int = 20_000_000
    ) -> None:
        if not root.exists():
            raise NotFoundError(f"there is nothing at {root}")
        self.root = root.resolve()
        self.name = name or self.root.name
        self.largest_bytes = largest_bytes
        self._rules = (_Rules(self.root, _patterns([*ALWAYS_LEFT_OUT, *exclude])),)

    def covers(self, source: str) -> bool:
        """Whether a stored document is one of this root's: it is deleted when its file is gone."""
        return source == self.name if self.root.is_file() else source.startswith(f"{self.name}/")

    def __iter__(self) -> Iterator[Found | LeftOut]:
        """Every file, and what is left out for another reason than a pattern."""
        if self.root.is_file():
            yield self._judged(self.root)
        else:
            yield from self._folder(self.root, self._rules, 0)

    def _folder(self, folder: Path, rules: tuple[_Rules, ...], depth: int) -> Iterator[Found | LeftOut]:
        if depth > DEEPEST_FOLDERS:
            yield LeftOut(self._source(folder), "too deep")
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            yield LeftOut(self._source(folder), "unreadable", kept=True)
            return
        inner = (*rules, *_own_rules(folder))
        for entry in entries:
            path, is_folder = Path(entry.path), entry.is_dir(follow_symlinks=False)
            if _is_left_out(path, inner, is_folder=is_folder):
                continue
            if is_folder:
                yield from self._folder(path, inner, depth + 1)
            else:
                yield self._judged(path)

    def _judged(self, path: Path) -> Found | LeftOut:
        source = self._source(path)
        try:
            status = path.lstat()
        except OSError:
            return LeftOut(source, "unreadable", kept=True)
        if stat.S_ISLNK(status.st_mode):
            return LeftOut(source, "link")
        if not stat.S_ISREG(status.st_mode):
            return LeftOut(source, "no file")
        if status.st_size > self.largest_bytes:
            return LeftOut(source, "too large")
        modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
        return Found(path, source, status.st_size, modified)

    def _source(self, path: Path) -> str:
        """With a readable name for bytes that are no UTF-8: a source is text, in payloads and in answers."""
        inner = path.relative_to(self.root).as_posix()
        whole = self.name if path == self.root else f"{self.name}/{inner}"
        return whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _own_rules(folder: Path) -> Iterator[_Rules]:
    for name in IGNORE_FILES:
        try:
            with (folder / name).open("rb") as file:
                text = file.read(_LARGEST_IGNORE_FILE).decode("utf-8", "replace")
        except OSError:
            continue
        yield _Rules(folder, _patterns(text.splitlines()))


def _is_left_out(path: Path, rules: Sequence[_Rules], *, is_folder: bool) -> bool:
    """As git decides: the last pattern that matches, of the innermost folder that has one."""
    for each in reversed(rules):
        name = path.relative_to(each.folder).as_posix() + ("/" if is_folder else "")
        decision = each.patterns.check_file(name).include
        if decision is not None:
            return decision
    return False


def _patterns(lines: Sequence[str]) -> GitIgnoreSpec:
    try:
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 - part of an extra
    except ImportError as error:
        raise MissingExtraError(
            "ingesting needs pathspec, not installed here", hint='Run: pip install "llm-deploy[rag]"'
        ) from error
    return GitIgnoreSpec.from_lines([line for line in lines if len(line) < 1000])  # noqa: PLR2004 - no pattern is
