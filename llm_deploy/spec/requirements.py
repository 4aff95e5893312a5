"""The SDK's `ResourceRequirements` under its own names, and the way from anybody's to ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from llm_deploy.errors import SpecError
from llm_deploy.spec.documents import Resources
from llm_deploy.spec.problems import problems_of
from llm_deploy.spec.rules import Finding, dotted

_KNOWN = frozenset({"copies", "num_accelerators", "num_cpus", "memory"})


@dataclass(frozen=True, init=False, eq=True)
class ResourceRequirements:
    """What one copy of a model reserves, in the words of the SageMaker SDK; `memory` is in MiB and needed.

    Attributes:
        requests: `copies`, `num_accelerators`, `num_cpus`, `memory`, as far as given.
        limits: `memory`: the cap, if any.
    """

    requests: Mapping[str, Any]
    limits: Mapping[str, Any]

    def __init__(
        self,
        requests: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        *,
        copies: int | None = None,
        num_accelerators: int | None = None,
        num_cpus: float | None = None,
        memory: int | None = None,
    ) -> None:
        given = {"copies": copies, "num_accelerators": num_accelerators, "num_cpus": num_cpus, "memory": memory}
        merged = {**(requests or {}), **{key: value for key, value in given.items() if value is not None}}
        object.__setattr__(self, "requests", merged)
        object.__setattr__(self, "limits", dict(limits or {}))
        _refuse_unknown("requests", merged, _KNOWN)
        _refuse_unknown("limits", self.limits, frozenset({"memory"}))
        if self.min_memory is None:
            raise SpecError(
                "ResourceRequirements: memory (MiB for one copy) is missing.",
                hint='Give memory=1024, or requests={"memory": 1024}; SageMaker refuses a component without it.',
            )

    @property
    def num_accelerators(self) -> int | None:
        """Accelerators of one copy."""
        return self.requests.get("num_accelerators")

    @property
    def num_cpus(self) -> float | None:
        """Virtual CPUs of one copy."""
        return self.requests.get("num_cpus")

    @property
    def min_memory(self) -> int | None:
        """MiB reserved for one copy."""
        return self.requests.get("memory")

    @property
    def max_memory(self) -> int | None:
        """MiB that one copy may use; `None`: no cap."""
        return self.limits.get("memory")

    @property
    def copy_count(self) -> int:
        """Copies at the start."""
        return int(self.requests.get("copies", 1))

    def get_compute_resource_requirements(self) -> dict[str, Any]:
        """The API's `ComputeResourceRequirements`, as the SDK builds it."""
        members = {
            "MinMemoryRequiredInMb": self.min_memory,
            "MaxMemoryRequiredInMb": self.max_memory,
            "NumberOfCpuCoresRequired": self.num_cpus,
            "NumberOfAcceleratorDevicesRequired": self.num_accelerators,
        }
        return {key: value for key, value in members.items() if value}


def resources_from_any(value: object) -> Resources:
    """See `Resources.from_any`."""
    try:
        return Resources.model_validate(value)
    except ValidationError as error:
        raise SpecError("\n".join(_under_resources(finding) for finding in problems_of(error, Resources))) from error


def _under_resources(finding: Finding) -> str:
    return f"{dotted(('resources', *finding.path))}: {finding.message}"


def _refuse_unknown(part: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise SpecError(
            f"ResourceRequirements: {part} does not know {', '.join(unknown)}; it takes {', '.join(sorted(known))}."
        )
