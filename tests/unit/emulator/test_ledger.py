"""The ledger is complete, honest and used."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from string import Formatter

import pytest

import llm_deploy.emulator
from llm_deploy.emulator import ledger

PACKAGE = Path(llm_deploy.emulator.__file__).parent
TESTS = Path(__file__).parents[2]
NAMED = re.compile(r"Ledger: ([a-z0-9.*-]+[a-z0-9*](?:,\s*[a-z0-9.*-]+[a-z0-9*])*)")
CODE = "\n".join(
    file.read_text("utf-8") for file in [*sorted(PACKAGE.rglob("*.py")), PACKAGE / "data/authentication.yaml"]
)
FAMILIES = sorted({entry_id.partition(".")[0] for entry_id in ledger.entries()})
FILES = (".log", ".sqlite", ".json", ".yaml", ".py")
"""Strings that look like ids and are names of files."""
ID = re.compile(rf"[\"'`]((?:{'|'.join(FAMILIES)})\.[a-z0-9][a-z0-9.-]*[a-z0-9])[\"'`]")


def test_every_entry_has_a_source_a_grade_and_a_behaviour() -> None:
    """A behaviour without a source is a rumour."""
    for entry in ledger.entries().values():
        assert entry.source.strip(), entry.id
        assert entry.behaviour.strip(), entry.id
        assert entry.grade in {"M", "P", "D", "R", "L"}, entry.id


def test_every_id_that_the_code_uses_exists() -> None:
    """A misspelt id would be found only when the refusal is made."""
    used = {found for found in ID.findall(CODE) if not found.endswith(FILES)}
    assert used - ledger.entries().keys() == set()


def test_every_entry_is_used() -> None:
    """An entry that no code names claims what is not there."""
    unused = [entry_id for entry_id in ledger.entries() if not re.search(rf"[\"'`]{re.escape(entry_id)}[\"'`]", CODE)]
    assert unused == []


def test_texts_have_only_named_placeholders() -> None:
    """A stray brace in AWS's words would break the refusal instead of making it."""
    for entry in ledger.entries().values():
        for _, name, _, _ in Formatter().parse(entry.text or ""):
            assert name is None or name.isidentifier(), entry.id


def test_an_unknown_id_is_loud() -> None:
    """No text is made up."""
    with pytest.raises(LookupError):
        ledger.text("no.such-entry")
    with pytest.raises(LookupError, match="no text"):
        ledger.text("sm.endpoint.case")
    with pytest.raises(LookupError, match="no duration"):
        ledger.duration_s("sm.endpoint.case")


def test_every_id_that_a_test_names_exists() -> None:
    """Tests say which behaviours they hold; a behaviour that is gone takes its tests with it."""
    files = [file for tier in ("unit", "functional") for file in (TESTS / tier).glob("emulator*/**/test_*.py")]
    named = {
        found for file in files for line in NAMED.findall(file.read_text("utf-8")) for found in re.split(r",\s*", line)
    }
    known = ledger.entries().keys()
    assert named
    assert {each for each in named if not any(fnmatch(entry_id, each) for entry_id in known)} == set()
