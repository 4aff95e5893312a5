"""Spans of time in both of their forms."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from llm_deploy.spec import durations
from tests.specs import twin


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8h", 28_800), ("2d", 172_800), ("1d12h", 129_600), ("90m", 5400), ("45s", 45), ("12h1d", 129_600)],
)
def test_the_simple_form(text: str, seconds: int) -> None:
    """Numbers with units, in any order."""
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("PT8H", 28_800), ("P2D", 172_800), ("P1DT12H30M5S", 131_405)])
def test_the_form_of_iso_8601(text: str, seconds: int) -> None:
    """Days and times; months and years have no fixed length."""
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "8", "h", "8h8h", "8 h", "-8h", "1.5h", "P", "PT", "P1M", "P1Y", "8H", "1w", "8h\n"]
)
def test_anything_else_is_refused(text: str) -> None:
    """A misread ttl would delete an endpoint, so nothing is guessed."""
    with pytest.raises(ValueError, match="no span of time"):
        durations.seconds(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_a_span_survives_writing_and_reading(seconds: int) -> None:
    """`text` is the inverse of `seconds`."""
    assert durations.seconds(durations.text(seconds)) == seconds


def test_both_forms_have_one_canonical_text() -> None:
    """Else the same spec in another form would be a change."""
    assert durations.canonical("PT90M") == durations.canonical("90m") == "1h30m"


def test_a_spec_refuses_a_ttl_that_ends_before_the_endpoint_is_up() -> None:
    """Ten minutes is what AWS needs for it."""
    assert twin(ttl="10m").ttl == "10m"
    with pytest.raises(ValidationError, match="less than ten minutes"):
        twin(ttl="9m59s")
    with pytest.raises(ValidationError, match="no span of time"):
        twin(ttl="8h8h")
