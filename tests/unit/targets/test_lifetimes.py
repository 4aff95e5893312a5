"""When a ttl ends: counted from what was deployed last, and not from what AWS changed last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llm_deploy.aws import Session
from llm_deploy.deploy.inventory import Found
from llm_deploy.resource import ENDPOINT, TAG_BY, TAG_TTL, tag_list
from llm_deploy.targets.sagemaker.lifetimes import expiry, lifetime, remaining, rough, signed_at

MADE = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = MADE + 100 * HOUR


@dataclass
class FakeSageMaker:
    """An endpoint's config, its component and the component's model, each with an age.

    Attributes:
        made: When each was created, by its name.
        by: Who says to have changed the component last, and when.
    """

    made: dict[str, datetime] = field(default_factory=dict)
    by: str = ""

    def describe_endpoint_config(self, **_: str) -> dict[str, Any]:
        """One machine."""
        variant = {"VariantName": "v", "InstanceType": "ml.g5.2xlarge", "InitialInstanceCount": 1}
        made = self.made.get("config", MADE)
        return {"EndpointConfigArn": "arn", "ProductionVariants": [variant], "CreationTime": made}

    def describe_inference_component(self, **_: str) -> dict[str, Any]:
        """One that was scaled a moment ago."""
        return {
            "InferenceComponentArn": "arn",
            "InferenceComponentStatus": "InService",
            "Specification": {"ModelName": "m"},
            "CreationTime": self.made.get("component", MADE),
            "LastModifiedTime": MADE + 99 * HOUR,
        }

    def describe_model(self, **_: str) -> dict[str, Any]:
        """Its model."""
        return {"ModelArn": "arn", "CreationTime": self.made.get("model", MADE)}

    def get_paginator(self, operation: str) -> FakePages:
        """Lists and tags."""
        return FakePages(operation, self.by)


@dataclass
class FakePages:
    """The component, and tags that say that all is ours."""

    operation: str
    by: str

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        """One page."""
        if self.operation == "list_inference_components":
            yield {"InferenceComponents": [{"InferenceComponentName": "twin"}]}
        else:
            yield {"Tags": tag_list({"llmdeploy:deployment": "twin", TAG_BY: self.by})}


def endpoint(ttl: str | None, **described: object) -> Found:
    tags = {} if ttl is None else {TAG_TTL: ttl}
    return Found(ENDPOINT, "twin", {"EndpointConfigName": "c", **described}, tags, created_at=MADE, status="InService")


def session(by: str = "", /, **made: datetime) -> Session:
    return Session("eu-central-1", _clients={"sagemaker": FakeSageMaker(made, by)})


def signature(at: datetime) -> str:
    return f"user/ann {at:%Y-%m-%dT%H:%M:%SZ}"


def test_scaling_and_upkeep_do_not_move_the_end() -> None:
    """LastModifiedTime does move with them, so an endpoint in use would never expire by it."""
    assert expiry(session(), endpoint("8h", LastModifiedTime=MADE + 50 * HOUR), NOW) == MADE + 8 * HOUR


@pytest.mark.parametrize("changed", ["config", "component", "model"])
def test_a_deploy_that_changes_something_moves_the_end(changed: str) -> None:
    """What it makes anew is younger than the endpoint."""
    assert expiry(session(**{changed: MADE + 5 * HOUR}), endpoint("8h"), NOW) == MADE + 13 * HOUR


@pytest.mark.parametrize("signed", ["endpoint", "component"])
def test_going_back_to_what_is_kept_moves_the_end(signed: str) -> None:
    """A rollback makes nothing anew, and what serves after it is older than what served before; but it signs."""
    by = signature(MADE + 20 * HOUR)
    found = endpoint("8h")
    if signed == "endpoint":
        found = replace(found, tags={**found.tags, TAG_BY: by})
    cloud = session(by if signed == "component" else signature(MADE), config=MADE + HOUR)
    assert expiry(cloud, found, NOW) == MADE + 28 * HOUR


def test_a_signature_older_than_what_was_made_counts_for_nothing() -> None:
    """A stack that deploys signs nothing."""
    assert expiry(session(signature(MADE), config=MADE + 5 * HOUR), endpoint("8h"), NOW) == MADE + 13 * HOUR


@pytest.mark.parametrize(
    ("by", "hours"),
    [
        ("assumed-role/deployer/a b 2026-01-01T03:00:00Z", 3),
        ("2026-01-01T03:00:00Z", 3),
        (signature(NOW + timedelta(minutes=4)), 100 + 4 / 60),
        (signature(NOW + timedelta(minutes=6)), None),
        ("user/ann 9999-12-31T23:59:59Z", None),
        ("user/ann 2026-02-31T03:00:00Z", None),
        ("user/ann 2026-01-01T03:00:00", None),
        ("user/ann 2026-01-01T03:00:00Z and more", None),
        ("user/ann", None),
        ("", None),
    ],
)
def test_a_signature_is_believed_as_far_as_it_can_be_true(by: str, hours: float | None) -> None:
    """Anybody may set a tag: one that is no time, or a time to come, must not keep a deployment, nor break the list."""
    assert signed_at({TAG_BY: by}, NOW) == (None if hours is None else MADE + hours * HOUR)
    assert signed_at({}, NOW) is None


@pytest.mark.parametrize("ttl", [None, "none", "soon", ""])
def test_without_a_span_there_is_no_end(ttl: str | None) -> None:
    """Also where somebody wrote something else into the tag: nothing is deleted by a guess."""
    assert expiry(session(), endpoint(ttl), NOW) is None


def test_money_is_the_price_over_the_age() -> None:
    """List price of what runs now, by the hour since it was made."""
    found = lifetime(session(), endpoint("8h"), MADE + 10 * HOUR)
    assert found.usd_per_hour is not None
    assert found.usd_so_far == pytest.approx(10 * found.usd_per_hour)
    assert (found.age_s, found.left_s) == (36_000, -7200)


def test_a_clock_that_is_a_little_behind_makes_no_negative_age() -> None:
    """AWS allows minutes of difference."""
    assert lifetime(session(), endpoint(None), MADE - timedelta(seconds=30)).age_s == 0


def test_an_endpoint_that_does_not_tell_its_config_is_judged_by_the_rest() -> None:
    """AWS may leave the name out; then its machines are not known, and so is their price."""
    silent = replace(endpoint("8h"), properties={})
    found = lifetime(session(component=MADE + HOUR), silent, NOW)
    assert (found.expires_at, found.usd_per_hour, found.usd_so_far) == (MADE + 9 * HOUR, None, None)


def test_spans_are_told_to_the_minute() -> None:
    """Nobody plans by seconds, but of the last minute."""
    assert rough(7 * 3600 + 61) == "7h1m"
    assert rough(42.9) == "42s"
    assert remaining(3600) == "1h left"
    assert remaining(-90_000) == "expired 1d1h ago"
