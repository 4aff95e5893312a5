"""The instance catalogue against AWS's own lists, and prices that say how far to trust them."""

from __future__ import annotations

import botocore.session
import pytest

from llm_deploy.catalog import instance, instances, price
from llm_deploy.catalog.data_files import data
from llm_deploy.errors import SpecError


def hostable(shape: str) -> set[str]:
    model = botocore.session.get_session().get_service_model("sagemaker")
    return set(model.shape_for(shape).enum)


def test_every_type_can_host_at_sagemaker() -> None:
    """By the enum of the service model that is installed."""
    assert set(instances()) <= hostable("ProductionVariantInstanceType")


def test_batch_transform_is_said_of_the_types_that_have_it() -> None:
    """By the other enum."""
    assert {name for name, found in instances().items() if found.batch_transform} == (
        set(instances()) & hostable("TransformInstanceType")
    )


def test_only_families_without_local_disks_take_a_volume() -> None:
    """AWS refuses the rest: 'VolumeSize parameter is not allowed for the selected Instance type'."""
    assert {found.family for found in instances().values() if found.volume} == {"p3", "inf1", "inf2"}
    assert all(found.nvme_gb == 0 for found in instances().values() if found.volume)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("ml.g5.2xlarge", (1, 22888, 8, 32, 1.515)),
        ("ml.g5.48xlarge", (8, 22888, 192, 768, 20.36)),
        ("ml.g6e.xlarge", (1, 45776, 4, 32, 2.61)),
        ("ml.p4d.24xlarge", (8, 40960, 96, 1152, 25.251286)),
        ("ml.inf2.xlarge", (1, 32768, 4, 16, 0.99)),
    ],
)
def test_known_rows(name: str, row: tuple[object, ...]) -> None:
    """A few rows by hand, so that a refresh cannot shift a column unseen."""
    found = instance(name)
    memory = found.accelerator_memory_mib
    assert (found.accelerators, memory, found.vcpu, found.memory_gib, found.usd_per_hour) == row
    assert found.quota_name == f"{name} for endpoint usage"


def test_all_66_types_are_there() -> None:
    """Losing rows would be a wrong refresh."""
    assert len(instances()) == 66


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ml.g5.2xlrge", "did you mean ml.g5.2xlarge"),
        ("ml.g5.metal", "ml.g5 has xlarge"),
        ("ml.m5.large", "no instance type of the catalogue"),
    ],
)
def test_an_unknown_type_comes_with_the_nearest(name: str, words: str) -> None:
    """Or with the sizes that its family has."""
    with pytest.raises(SpecError, match=r"instance\.type") as caught:
        instance(name)
    assert words in caught.value.message


def test_a_price_of_the_home_region_is_exact_when_it_was_published() -> None:
    """And only then."""
    found = price("ml.g5.2xlarge", "us-east-1")
    assert (found.usd_per_hour, found.exact, found.status) == (1.515, True, "published")
    assert found.note == "on demand, us-east-1, 2025-02"


def test_a_price_of_another_region_says_so() -> None:
    """Only one region is known."""
    found = price("ml.g5.2xlarge", "eu-central-1")
    assert (found.usd_per_hour, found.exact) == (1.515, False)
    assert found.note.endswith("; eu-central-1 differs")


def test_an_estimate_is_never_a_quote() -> None:
    """The word is in the note of every estimated row."""
    estimated = [name for name, row in data("instances")["instances"].items() if row["price"].startswith("estimate")]
    assert len(estimated) == 25
    for name in estimated:
        assert "ESTIMATED" in price(name, "us-east-1").note
        assert not price(name, "us-east-1").exact


def test_an_unknown_price_is_none() -> None:
    """Not zero."""
    assert price("ml.trn2.48xlarge", "us-east-1").usd_per_hour is None


def test_the_data_is_read_once() -> None:
    """The catalogue must not be felt in the command line: one read a process, in C where PyYAML has it."""
    assert data("instances") is data("instances")
    assert instances() is instances()
