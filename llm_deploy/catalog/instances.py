"""SageMaker's instance types for LLMs: what they hold and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from llm_deploy.catalog.data_files import data
from llm_deploy.errors import SpecError
from llm_deploy.spec.problems import nearest, suggestion

PriceStatus = Literal["published", "published-other-component", "estimated", "unknown"]

_GRADES: Mapping[str, str] = {
    "published": "",
    "published-other-component": ", taken from another SageMaker component",
    "estimated": ", ESTIMATED from EC2's price: no quote",
}


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One `ml.*` type.

    Attributes:
        kind: `gpu` or `neuron` (Inferentia, Trainium).
        accelerator: What the accelerators are called.
        accelerators: How many it has.
        accelerator_memory_mib: Memory of one accelerator as EC2 reports it.
        usable_gib: Memory of one accelerator as torch sees it; `None`: not known. `usable_source` grades it.
        compute_capability: NVIDIA's; `None` elsewhere.
        memory_gib: Host memory.
        nvme_gb: Local disks together; 0: none.
        volume: Whether it takes VolumeSizeInGB and KmsKeyId.
        driver_cuda: Newest CUDA that the default driver knows; `None`: no NVIDIA driver, or not known.
        usd_per_hour: On demand in `data("instances")["price_region"]`; see `price`.
    """

    name: str
    family: str
    kind: Literal["gpu", "neuron"]
    accelerator: str
    accelerators: int
    accelerator_memory_mib: int
    usable_gib: float | None
    usable_source: str
    compute_capability: str | None
    bf16: bool
    native_fp8: bool
    vcpu: int
    memory_gib: int
    nvme_gb: int
    volume: bool
    batch_transform: bool
    driver: str | None
    driver_cuda: str | None
    usd_per_hour: float | None
    price_source: str
    interconnect: str | None = None
    neuron_cores: int | None = None
    note: str | None = None

    @property
    def quota_name(self) -> str:
        """Name of the Service Quotas entry for endpoints."""
        return f"{self.name} for endpoint usage"


@dataclass(frozen=True, slots=True)
class Price:
    """What one instance costs for an hour, and how far to trust it.

    Attributes:
        usd_per_hour: `None` when unknown.
        region: The region that the figure is of.
        exact: Whether it is a published price of hosting in the region that was asked for.
        note: Grade, region and date in words.
    """

    usd_per_hour: float | None
    region: str
    status: PriceStatus
    as_of: str | None
    exact: bool
    note: str


@cache
def instances() -> Mapping[str, InstanceType]:
    """All types of the catalogue by name."""
    content = data("instances")
    families = content["families"]
    found = {name: _instance(name, row, families[row["family"]]) for name, row in content["instances"].items()}
    return MappingProxyType(found)


def instance(name: str) -> InstanceType:
    """One type.

    Raises:
        SpecError: The catalogue does not have it; the nearest is suggested.
    """
    found = instances().get(name)
    if found is None:
        raise SpecError(f"instance.type: {unknown_instance(name)}.")
    return found


def unknown_instance(name: str) -> str:
    """What to say about a type that the catalogue does not have."""
    family, _, size = name.removeprefix("ml.").partition(".")
    sizes = [other.rpartition(".")[2] for other, found in instances().items() if found.family == family]
    start = f"{name!r} is no instance type of the catalogue"
    if not sizes:
        return f"{start}{suggestion(name, instances()).rstrip('?')}"
    meant = nearest(size, sizes, cutoff=0.8)
    return f"{start}; did you mean ml.{family}.{meant}" if meant else f"{start}; ml.{family} has {', '.join(sizes)}"


def price(type_name: str, region: str) -> Price:
    """What is known of a price. Only one region's prices are in the catalogue; others differ, and the note says so."""
    found = instance(type_name)
    content = data("instances")
    source = content["price_sources"][found.price_source]
    home = content["price_region"]
    if found.usd_per_hour is None:
        return Price(None, home, "unknown", None, exact=False, note="price unknown; see the AWS price list")
    other = "" if region == home else f"; {region} differs"
    note = f"on demand, {home}, {source['as_of']}{_GRADES[source['status']]}{other}"
    exact = region == home and source["status"] == "published"
    return Price(found.usd_per_hour, home, source["status"], source["as_of"], exact=exact, note=note)


def _instance(name: str, row: Mapping[str, Any], family: Mapping[str, Any]) -> InstanceType:
    own = {key: value for key, value in row.items() if key != "price"}
    return InstanceType(name=name, price_source=row["price"], **family, **own)
