"""What a type of ours is to the engine."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Document = dict[str, Any]
Record = dict[str, Any]
"""A stack, a resource or an event as the engine keeps it."""
Stop = Callable[[], bool]
"""Whether whoever asked for the stack wants no more of it."""

_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that exists, if perhaps not ready.

    Attributes:
        physical_id: What `Ref` gives.
        attributes: What `Fn::GetAtt` gives.
    """

    physical_id: str
    attributes: Mapping[str, str]


class Provider(Protocol):
    """One type. Every method but `made` blocks, and raises `ResourceError` with the reason of the resource's event."""

    @property
    def kind(self) -> str:
        """The type's name."""
        ...

    def create(self, logical_id: str, properties: Document) -> Made:
        """Make it and return at once."""
        ...

    def settle(self, physical_id: str, properties: Document, stop: Stop) -> None:
        """Wait until it is ready."""
        ...

    def update(self, physical_id: str, old: Document, new: Document, stop: Stop) -> None:
        """Change what can be changed in place, and wait until that is done."""
        ...

    def delete(self, physical_id: str, properties: Document) -> None:
        """Remove it and wait until it is gone; the absent is no error."""
        ...

    def made(self, identifier: Mapping[str, str]) -> Made:
        """The resource that an import names. Asks nobody."""
        ...

    def exists(self, identifier: Mapping[str, str]) -> bool:
        """Whether there is a resource of this identifier."""
        ...


def generated_name(logical_id: str) -> str:
    """A name for what the template gives none. Ledger: `cfn.generated-name`."""
    # In lower case, as in ARNs, so that the name can be read from one.
    return f"{logical_id.lower()}-{''.join(secrets.choice(_LETTERS) for _ in range(12))}"


def tag_changes(old: Document, new: Document) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Tags to set and keys to remove."""
    before, after = tag_map(old), tag_map(new)
    wanted = {key: value for key, value in after.items() if before.get(key) != value}
    return wanted, tuple(key for key in before if key not in after)


def tag_map(properties: Document) -> dict[str, str]:
    """The tags of a resource's properties."""
    return {str(tag["Key"]): str(tag["Value"]) for tag in properties.get("Tags", [])}


def tag_list(tags: Mapping[str, str]) -> list[Document]:
    """The inverse."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
