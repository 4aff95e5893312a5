"""What `status` says of money: never less than AWS bills, never a made-up figure."""

from __future__ import annotations

from typing import Any

import pytest

from llm_deploy import catalog
from llm_deploy.targets.sagemaker.machines import usd_per_hour

KNOWN = "ml.g5.2xlarge"
REGION = "eu-central-1"


def machine(type_name: str = KNOWN, *, count: int | None = 1, desired: int | None = 1) -> dict[str, Any]:
    return {"variant": "AllTraffic", "type": type_name, "count": count, "desired": desired}


def one() -> float:
    each = catalog.price(KNOWN, REGION).usd_per_hour
    assert each is not None
    return each


@pytest.mark.parametrize(
    ("count", "desired", "billed"), [(1, 1, 1), (2, 1, 2), (0, 3, 3), (None, 2, 2), (0, 0, 0), (None, None, 0)]
)
def test_machines_that_start_are_counted(count: int | None, desired: int | None, billed: int) -> None:
    """Where none is current yet, the wanted number bills; scaled to zero bills nothing."""
    assert usd_per_hour([machine(count=count, desired=desired)], REGION) == pytest.approx(billed * one())


def test_all_variants_are_added() -> None:
    """Each bills for itself."""
    assert usd_per_hour([machine(), machine(count=2)], REGION) == pytest.approx(3 * one())


@pytest.mark.parametrize("unknown", ["ml.m5.large", "unknown"])
def test_a_type_that_is_not_in_the_catalogue_has_no_price(unknown: str) -> None:
    """Unknown, not an error and not the price of the others alone."""
    assert usd_per_hour([machine(), machine(unknown)], REGION) is None


def test_no_machines_known_is_no_price() -> None:
    """An endpoint whose config is gone does not cost nothing."""
    assert usd_per_hour([], REGION) is None
