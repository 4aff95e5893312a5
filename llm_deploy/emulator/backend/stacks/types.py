"""What the registry's schemas say about types: from a data file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

DATA = Path(__file__).parents[2] / "data" / "resource_types.yaml"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One type.

    Attributes:
        identifier: Properties that identify a resource, as an import names it.
        create_only: Properties whose change needs another resource. Ledger: `cfn.replacement`.
        name: The property that is the resource's name, so that replacing under it is refused; may be absent.
        tagged: Whether it takes tags, those of its stack among them.
        system_tags: Whether CloudFormation puts its own three tags on it as well. Ledger: `cfn.system-tags`.
    """

    identifier: tuple[str, ...]
    create_only: tuple[str, ...]
    tagged: bool
    system_tags: bool
    name: str | None = None


@cache
def resource_types() -> Mapping[str, ResourceType]:
    """Every type that this cloud adds, by name."""
    raw = yaml.safe_load(DATA.read_text("utf-8"))["types"]
    return {
        kind: ResourceType(
            identifier=tuple(row["identifier"]),
            create_only=tuple(row["create_only"]),
            tagged=row["tagged"],
            system_tags=row["system_tags"],
            name=row.get("name"),
        )
        for kind, row in raw.items()
    }
