"""Instance types, and where copies of inference components find room on instances. Bookkeeping only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from llm_deploy.emulator.store import Document

_TABLE = Path(__file__).parents[1] / "data" / "instances.yaml"
RESERVED_MIB = 13 * 1024
"""Memory of an instance that components cannot have. Ledger: `sm.component.memory-pool`."""


@dataclass(frozen=True, slots=True)
class Room:
    """Resources: of an instance, free on one, or needed by one copy."""

    accelerators: float
    cpus: float
    memory_mib: float

    def less(self, other: Room) -> Room:
        """What is left without `other`."""
        return Room(self.accelerators - other.accelerators, self.cpus - other.cpus, self.memory_mib - other.memory_mib)

    def holds(self, other: Room) -> bool:
        """Whether `other` fits."""
        left = self.less(other)
        return left.accelerators >= 0 and left.cpus >= 0 and left.memory_mib >= 0


def capacity(instance_type: str) -> Room:
    """What components may use of an instance; without limit for a type that the table does not have."""
    row = _table().get(instance_type)
    if row is None:
        return Room(float("inf"), float("inf"), float("inf"))
    vcpus, memory_gib, accelerators, _ = row
    return Room(accelerators, vcpus, max(memory_gib * 1024 - RESERVED_MIB, memory_gib * 1024 / 8))


def needed(component: Document) -> Room:
    """What one copy of an inference component reserves."""
    asked = component["Specification"].get("ComputeResourceRequirements", {})
    return Room(
        asked.get("NumberOfAcceleratorDevicesRequired", 0),
        asked.get("NumberOfCpuCoresRequired", 0),
        asked.get("MinMemoryRequiredInMb", 0),
    )


def volume_allowed(instance_type: str) -> bool:
    """Whether VolumeSizeInGB may be set. Ledger: `sm.config.volume`."""
    row = _table().get(instance_type)
    return row is None or bool(row[3])


def place(
    instance_type: str, instances: Sequence[str], components: Iterable[Document], asked: Room, copies: int
) -> list[str]:
    """An instance for each copy, as many copies as fit; the emptiest instance first. Ledger: `sm.component.spread`.

    Args:
        instance_type: Type of every instance.
        instances: Ids of the instances.
        components: The components whose `placements` take room.
        asked: What one copy needs.
        copies: How many are wanted.
    """
    free = dict.fromkeys(instances, capacity(instance_type))
    for component in components:
        for instance in component.get("placements", ()):
            if instance in free:
                free[instance] = free[instance].less(needed(component))
    placed: list[str] = []
    while len(placed) < copies:
        fitting = [instance for instance in instances if free[instance].holds(asked)]
        if not fitting:
            break
        best = max(fitting, key=lambda instance: (free[instance].accelerators, free[instance].memory_mib))
        free[best] = free[best].less(asked)
        placed.append(best)
    return placed


@cache
def _table() -> dict[str, tuple[float, float, float, bool]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    table: dict[str, tuple[float, float, float, bool]] = yaml.load(_TABLE.read_text("utf-8"), Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    return table
