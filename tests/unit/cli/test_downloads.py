"""The bar of a download, on a terminal and without one."""

from __future__ import annotations

import io
import sys

import pytest

from llm_deploy.cli.downloads import progress_bar


class Screen(io.StringIO):
    """Standard error of a person."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal of a known width."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Screen()


def test_nothing_is_shown_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody has to be called."""
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with progress_bar("smollm2") as progress:
        assert progress is None
    assert stream.getvalue() == ""


def test_a_person_sees_what_is_fetched_and_how_far_it_is(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Title, phase and bytes; also while the size of all is not known."""
    monkeypatch.setattr(sys, "stderr", screen)  # here: pytest puts its own back between a fixture and its test
    with progress_bar("smollm2") as progress:
        assert progress is not None
        progress("download", 500_000, None)
        progress("verify", 1_000_000, 2_000_000)
    assert "smollm2: verify" in screen.getvalue()
    assert "1.0/2.0 MB" in screen.getvalue()
