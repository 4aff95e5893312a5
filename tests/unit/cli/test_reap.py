"""Which deployments `reap` chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, strategies as st

from llm_deploy.aws import Session
from llm_deploy.cli.reap import chosen, spared
from llm_deploy.resource import TAG_BY, TAG_DEPLOYMENT, TAG_TTL, tag_list
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


@dataclass
class FakeSageMaker:
    """One endpoint whose tags say that it was deployed, and what it may live; made two hours ago.

    Attributes:
        tags: The endpoint's.
        status: The endpoint's; empty: it is gone.
    """

    tags: dict[str, str] = field(default_factory=dict)
    status: str = "InService"

    def describe_endpoint(self, **_: str) -> dict[str, Any]:
        """As SageMaker describes it."""
        if not self.status:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find it"}}, "")
        return {"EndpointArn": "arn", "EndpointStatus": self.status, "CreationTime": hours_ago(2)}

    def get_paginator(self, operation: str) -> Any:  # noqa: ANN401 - as botocore's clients
        """Of components, of which there are none, and of tags."""
        return Pages(self.tags if operation == "list_tags" else {})


@dataclass
class Pages:
    """One page."""

    tags: dict[str, str]

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        """Tags, and no component."""
        yield {"Tags": tag_list(self.tags), "InferenceComponents": []}


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def said_of(cloud: FakeSageMaker) -> str:
    choice = partial(chosen, expired=True, older_than_s=None)
    return spared("twin", choice, Session("eu-central-1", _clients={"sagemaker": cloud}))


def test_what_was_deployed_again_before_its_turn_is_spared() -> None:
    """The list may be as old as the deletions before it took; what counts is what the cloud says now."""
    tags = {TAG_DEPLOYMENT: "twin", TAG_TTL: "1h"}
    assert said_of(FakeSageMaker(tags)) == "", "it still has to go"
    again = {**tags, TAG_BY: f"user/ann {hours_ago(0):%Y-%m-%dT%H:%M:%SZ}"}
    assert said_of(FakeSageMaker(again)).startswith("it was deployed again meanwhile, 59m")
    assert said_of(FakeSageMaker({TAG_DEPLOYMENT: "twin"})) == "it was deployed again meanwhile", "without a ttl"


def test_what_somebody_else_deletes_is_left_to_them_and_what_they_left_is_not() -> None:
    """A deletion that is under way needs no second hand; of what has no endpoint any more, the rest still goes."""
    tags = {TAG_DEPLOYMENT: "twin", TAG_TTL: "1h"}
    assert said_of(FakeSageMaker(tags, "Deleting")) == "it is being deleted already"
    assert said_of(FakeSageMaker(tags, "")) == ""
