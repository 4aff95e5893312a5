"""What people see of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_deploy.cli.screen import show_plan
from llm_deploy.deploy.plan import Action, Change, Difference, Plan
from llm_deploy.resource import INFERENCE_COMPONENT

if TYPE_CHECKING:
    import pytest


def test_a_plan_on_the_screen_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Terminals are recorded by CI; the plan that is printed hides what its JSON hides."""
    differences = (Difference("Environment.OPENAI_KEY", "old-key", "new-key"), Difference("Copies", 1, 2))
    change = Change(Action.UPDATE, INFERENCE_COMPONENT, "twin", differences=differences)
    show_plan(Plan("twin", (change,)), "twin:")
    shown = capsys.readouterr().err
    assert "Environment.OPENAI_KEY: '********' -> '********'" in shown
    assert "Copies: 1 -> 2" in shown
