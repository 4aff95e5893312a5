"""The page of policies follows the templates."""

from __future__ import annotations

from scripts.policies import PAGE, page


def test_the_page_is_up_to_date() -> None:
    """`make docs` writes it; a statement that changes shows there."""
    assert PAGE.read_text("utf-8") == page()
