"""Which deployments `reap` chooses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from llm_deploy.cli.reap import chosen
from llm_deploy.targets.sagemaker.lifetimes import Lifetime


def deployment(age_s: float, left_s: float | None, status: str = "InService") -> Lifetime:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Lifetime("twin", status, made, None if left_s is None else made, age_s, left_s, 1.0, 1.0)


@pytest.mark.parametrize(("left_s", "goes"), [(None, False), (1, False), (0, True), (-5, True)])
def test_expired_is_what_outlived_its_ttl(left_s: float | None, goes: bool) -> None:  # noqa: FBT001 - the expected value
    """Without a ttl nothing expires."""
    assert bool(chosen([deployment(10, left_s)], expired=True, older_than_s=None)) is goes


@pytest.mark.parametrize("status", ["Creating", "InService", "Failed", "UpdateRollbackFailed"])
def test_any_state_is_reaped_but_what_goes_already(status: str) -> None:
    """A failed endpoint that nobody looks after is what this is for; one that is being deleted needs no second hand."""
    assert chosen([deployment(10, -1, status)], expired=True, older_than_s=None)
    assert not chosen([deployment(10, -1, "Deleting")], expired=True, older_than_s=0)


@given(ages=st.lists(st.floats(0, 1e6, allow_nan=False)), limit=st.floats(0, 1e6, allow_nan=False))
def test_an_age_chooses_what_is_older_and_nothing_else(ages: list[float], limit: float) -> None:
    """Whatever its ttl, unless expired ones are asked for as well."""
    found = [deployment(age, -1) for age in ages]
    assert [each.age_s for each in chosen(found, expired=False, older_than_s=limit)] == [a for a in ages if a > limit]
    assert chosen(found, expired=True, older_than_s=limit) == found
