"""The page of requirements does not say more than is proved."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.rows import page, wrong

WHOLE: dict[str, Any] = {"what": "Roles", "by": "`create-roles`", "claimed": True}
PARTLY: dict[str, Any] = {"what": "Logs", "missing": "metrics", "by": "`logs`", "claimed": "partly"}
NOT: dict[str, Any] = {"what": "Batch", "by": "", "claimed": False}


def test_what_is_proved_may_be_claimed() -> None:
    """Whole, in part, or not at all; the page says which part is not there."""
    rows, tests = {"A": WHOLE, "B": PARTLY, "C": NOT}, {"A": ["a::b"], "B": ["a::c"]}
    assert wrong(rows, tests) == []
    assert "Logs<br>**In part.** Not yet: metrics" in page(rows, tests)


@pytest.mark.parametrize(
    ("facts", "tests", "said"),
    [
        (WHOLE, {}, "no test proves it"),
        (PARTLY, {}, "no test proves it"),
        (WHOLE, {"A": ["x"], "Z": ["x"]}, "Z is no row"),
        (WHOLE | {"missing": "x"}, {"A": ["x"]}, "only there"),
        (WHOLE | {"what": "Logs (metrics: not yet)"}, {"A": ["x"]}, "claimed whole"),
        (WHOLE | {"claimed": "mostly"}, {"A": ["x"]}, "not mostly"),
        (PARTLY | {"claimed": True}, {"A": ["x"]}, "only there"),
        (NOT | {"by": "`batch`"}, {}, "names a command"),
    ],
)
def test_what_is_not_is_refused(facts: dict[str, Any], tests: dict[str, list[str]], said: str) -> None:
    """Each way to claim too much."""
    (sentence,) = wrong({"A": facts}, tests)
    assert said in sentence
