"""The page about what is enforced is written from the data that enforces."""

from __future__ import annotations

from scripts.authorization import BEGIN, END, PAGE, page


def test_the_page_of_enforcement_is_up_to_date() -> None:
    """It has every operation and every behaviour: python scripts/authorization.py."""
    text = PAGE.read_text("utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert page(text) == text
