"""The receipt of a removal: what is left is listed with its price, and is an error."""

from __future__ import annotations

import pytest

from llm_deploy.deploy.receipt import Left, Receipt
from llm_deploy.errors import LeftoverError
from llm_deploy.targets.teardown import check


def receipt(*left: Left, usd_per_hour: float | None = 0.0) -> Receipt:
    return Receipt("twin", "sagemaker", "123456789012", "eu-central-1", (), 1.0, usd_per_hour, left=left)


def test_nothing_left_is_no_error() -> None:
    """That is what the exit code 0 says."""
    check(receipt())


def test_what_is_left_is_listed_with_what_it_costs() -> None:
    """One line an object, and the sum."""
    left = (Left("Endpoint", "twin", "Failed", 1.515), Left("Model", "twin-1", "", 0.0))
    with pytest.raises(LeftoverError) as caught:
        check(receipt(*left, usd_per_hour=1.515))
    assert caught.value.exit_code == 11
    assert caught.value.message.splitlines() == [
        "still there after the deletion of twin:",
        "  Endpoint twin (Failed), $1.51/h",
        "  Model twin-1, $0.00/h",
        "still billing: $1.51/h",
    ]


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    """A component whose endpoint is gone may bill."""
    with pytest.raises(LeftoverError, match="still billing: price unknown"):
        check(receipt(Left("InferenceComponent", "twin", "InService", None), usd_per_hour=None))
