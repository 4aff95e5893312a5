"""Which files are ingested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_deploy.errors import NotFoundError
from llm_deploy.rag.files import Found, LeftOut, Walk


def tree(root: Path, *names: str, text: str = "x") -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def sources(walk: Walk) -> list[str]:
    return [each.source for each in walk if isinstance(each, Found)]


def left_out(walk: Walk) -> dict[str, str]:
    return {each.source: each.reason for each in walk if isinstance(each, LeftOut)}


def test_all_files_in_a_stable_order(tmp_path: Path) -> None:
    """Sources begin with the folder's name, or with the one that is given, and use forward slashes."""
    root = tree(tmp_path / "docs", "b.md", "a/c.md", "a/b.md")
    assert sources(Walk(root)) == ["docs/a/b.md", "docs/a/c.md", "docs/b.md"]
    assert sources(Walk(root, name="wiki"))[0] == "wiki/a/b.md"


def test_patterns_as_git_has_them(tmp_path: Path) -> None:
    """The innermost folder's patterns win, the last one in a file wins, and ours can be taken back."""
    root = tree(
        tmp_path / "d", "keep.lock", "x.lock", "a/x.tmp", "a/y.tmp", "build/z.md", ".git/HEAD", "node_modules/m.js"
    )
    tree(root, ".gitignore", text="*.tmp\nbuild/\n")
    tree(root, "a/.gitignore", text="!y.tmp\n")
    found = sources(Walk(root, exclude=["!keep.lock", ".gitignore"]))
    assert found == ["d/a/y.tmp", "d/keep.lock"]


def test_secrets_are_left_out(tmp_path: Path) -> None:
    """What commonly holds keys is not made searchable by accident."""
    assert sources(Walk(tree(tmp_path / "d", ".env", ".env.prod", "tls.key", "a.pem", "id_rsa", "b.md"))) == ["d/b.md"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither around in a circle nor out of the folder."""
    root = tree(tmp_path / "d", "a/b.md")
    (root / "a" / "loop").symlink_to(root)
    (root / "out.md").symlink_to(tree(tmp_path, "secret.md") / "secret.md")
    (root / "nowhere").symlink_to(tmp_path / "gone")
    walk = Walk(root)
    assert sources(walk) == ["d/a/b.md"]
    assert left_out(walk) == {"d/a/loop": "link", "d/out.md": "link", "d/nowhere": "link"}


def test_what_is_too_large_or_no_file_is_left_out(tmp_path: Path) -> None:
    """With a note; a pipe would block for ever."""
    root = tree(tmp_path / "d", "big.md", text="x" * 100)
    os.mkfifo(root / "pipe")
    walk = Walk(root, largest_bytes=99)
    assert sources(walk) == []
    assert left_out(walk) == {"d/big.md": "too large", "d/pipe": "no file"}


def test_names_of_any_bytes_are_text(tmp_path: Path) -> None:
    """A name that is no UTF-8 is shown with its bytes written out."""
    root = tree(tmp_path / "d", "a.md")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.md")).write_text("x")
    assert sources(Walk(root)) == ["d/a.md", "d/\\xff.md"]


def test_one_file_is_a_root_as_well(tmp_path: Path) -> None:
    """Its source is its name, and it covers nothing else."""
    walk = Walk(tree(tmp_path, "a.md", "b.md") / "a.md")
    assert sources(walk) == ["a.md"]
    assert walk.covers("a.md")
    assert not walk.covers("a.md/b.md")


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    """A misspelt folder must not look like one whose files have all gone."""
    with pytest.raises(NotFoundError, match="nothing at"):
        Walk(tmp_path / "docz")
