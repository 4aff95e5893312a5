"""The error tree: one exit code a kind, documented."""

from __future__ import annotations

import pytest

from llm_deploy.errors import LlmDeployError
from scripts import calls
from scripts.exit_codes import PAGE, kinds, page


def test_every_kind_has_its_own_exit_code() -> None:
    """Scripts tell kinds apart by exit code; only a subclass without a code of its own shares its parent's."""
    own = [kind.exit_code for kind in kinds() if "exit_code" in vars(kind)]
    assert len(own) == len(set(own))
    assert all(0 < code < 64 for code in own)


def test_the_page_of_exit_codes_is_up_to_date() -> None:
    """It is written from the tree: python scripts/exit_codes.py."""
    assert PAGE.read_text("utf-8") == page()


def test_the_page_of_calls_is_up_to_date() -> None:
    """It is written from the golden file: python scripts/calls.py."""
    assert calls.PAGE.read_text("utf-8") == calls.page()


@pytest.mark.parametrize("kind", list(kinds()))
def test_every_kind_is_of_the_one_tree_and_says_what_it_means(kind: type[LlmDeployError]) -> None:
    """Errors that people meet are defined in one module, each with a sentence for the page."""
    assert kind.__module__ == "llm_deploy.errors"
    assert (kind.__doc__ or "").splitlines()[0]
