"""YAML: lines are kept, and what a spec has no use for is refused with its line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llm_deploy.errors import SpecError
from llm_deploy.spec.source import LARGEST_FILE_BYTES, parse, read


def test_every_value_keeps_its_line() -> None:
    """A problem is pointed at where it was written."""
    source = parse("# comment\na: 1\nb:\n  c: x\n  d:\n    - y\n    - z\n", "s.yaml")
    assert source.raw == {"a": 1, "b": {"c": "x", "d": ["y", "z"]}}
    assert source.where(("a",)) == "s.yaml:2"
    assert source.where(("b", "d", 1)) == "s.yaml:7"
    assert source.where(("b", "missing")) == "s.yaml:3"
    assert source.where(("missing",)) == "s.yaml:1"


def test_variables_and_tags_are_taken_as_they_are_written() -> None:
    """YAML's ideas about numbers and truth do not change what a container reads."""
    text = "environment:\n  A: 0.90\n  B: yes\n  C: 012\n  D: 1e3\n  E: 2024-01-01\n  F:\n  G: '1'\n"
    assert parse(text, "s").raw["environment"] == {
        "A": "0.90",
        "B": "yes",
        "C": "012",
        "D": "1e3",
        "E": "2024-01-01",
        "F": "",
        "G": "1",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1,\nb: 2", 2, "not valid YAML"),
        ("a: 1\na: 2\n", 2, "written twice; the first is in line 1"),
        ("a:\n  b: 1\n  b: 2\n", 3, "a.b: written twice"),
        ("a: &x 1\nb: *x\n", 1, "anchors"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "tags such as"),
        ("a: !!binary aGk=\n", 1, "tags such as"),
        ("- a\n- b\n", 1, "found a list"),
        ("twin\n", 1, "found a single value"),
        ("? [a, b]\n: 1\n", 1, "plain field name"),
        ("<<: {a: 1}\n", 1, "plain field name"),
        ("\ta: 1\n", 1, "not valid YAML"),
        ("a: " + "[" * 13 + "]" * 13, 1, "nested"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    """Nothing is guessed, and nothing is executed."""
    with pytest.raises(SpecError) as caught:
        parse(text, "s.yaml")
    assert caught.value.message.startswith(f"s.yaml:{line}:")
    assert words in caught.value.message


def test_an_empty_file_is_no_spec() -> None:
    """And the hint says where to begin."""
    with pytest.raises(SpecError, match="empty") as caught:
        parse("# nothing\n", "s.yaml")
    assert caught.value.hint


def test_hostile_files_cost_little() -> None:
    """Neither deep nesting nor a bomb of aliases gets as far as the composer."""
    bomb = "a: &a [x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a]\n" for n in range(50))
    started = time.perf_counter()
    for text in (bomb, "a: " + "[" * 60_000, "a: {" * 10_000):
        with pytest.raises(SpecError):
            parse(text, "s.yaml")
    assert time.perf_counter() - started < 2


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    """The bound holds before the content is looked at."""
    path = tmp_path / "s.yaml"
    path.write_bytes(b"#" * (LARGEST_FILE_BYTES + 1))
    with pytest.raises(SpecError, match="larger than 64 KiB"):
        read(path)


def test_a_missing_file_is_said_with_its_likely_neighbour(tmp_path: Path) -> None:
    """A slip of the pen costs one look."""
    (tmp_path / "twin.yaml").write_text("a: 1")
    with pytest.raises(SpecError, match="no such file") as caught:
        read(tmp_path / "twim.yaml")
    assert caught.value.hint == f"Did you mean {tmp_path / 'twin.yaml'}?"


def test_other_bytes_than_text_are_refused(tmp_path: Path) -> None:
    """Also a folder, and a byte order mark is no content."""
    path = tmp_path / "s.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(SpecError, match="not UTF-8"):
        read(path)
    with pytest.raises(SpecError, match="cannot be read"):
        read(tmp_path)
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read(path).raw == {"a": 1}
