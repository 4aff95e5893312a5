"""What the cloud holds, in the same words as what we want."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from llm_deploy.resource import Resource, stack_of


class State(Enum):
    """What can be done with an object now, whatever words its service has for it."""

    READY = "ready"
    BUSY = "busy"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Found:
    """One object as the cloud describes it.

    Attributes:
        properties: Its document in CloudFormation casing, as far as the cloud tells.
        status: The service's own word (`InService`, `Creating`, ...).
        reason: Why it failed, where it did.
        attributes: What the cloud made up (`Arn`, ...), for `Ref`s.
        owned_by: The deployment that it belongs to, by its tags or by the object it hangs on; `None`: not ours.
    """

    kind: str
    name: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    state: State = State.READY
    status: str = ""
    reason: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    owned_by: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies an object inside an account and region."""
        return self.kind, self.name


class KindManager(Protocol):
    """Everything the engine needs to know about one kind of object. Every call is safe to repeat.

    `create`, `update` and `delete` start the work and return at once; `find` is asked until the object has settled.
    """

    @property
    def kind(self) -> str:
        """CloudFormation's type name of what this manages."""
        ...

    def find(self, name: str) -> Found | None:
        """The object of this name, or `None`."""
        ...

    def owned(self, deployment: str) -> Sequence[Found]:
        """Every object of this kind that belongs to a deployment, wanted or not."""
        ...

    def create(self, resource: Resource) -> None:
        """Start making it.

        Raises:
            ConflictError: The name is taken by something that is not ours.
            NotYetError: The same call will work in a while.
        """
        ...

    def update(self, resource: Resource, found: Found) -> None:
        """Start changing what was found into what is wanted."""
        ...

    def delete(self, found: Found) -> None:
        """Start removing it; the absent is no error."""
        ...


Managers = Mapping[str, KindManager]
"""By kind, in the order in which a deployment makes them; deletion goes backwards."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found for one deployment: objects of the wanted names, and objects that carry its tags.

    Attributes:
        released: Stacks that are gone, so that their tags on what they left mean nothing any more.
    """

    deployment: str
    found: Mapping[tuple[str, str], Found]
    released: frozenset[str] = frozenset()

    @property
    def stacks(self) -> frozenset[str]:
        """The CloudFormation stacks that hold any of the deployment's objects."""
        return frozenset(stack for found in self.ours() if (stack := stack_of(found.tags))) - self.released

    def get(self, resource: Resource) -> Found | None:
        """The object that stands where this resource is wanted."""
        return self.found.get((resource.kind, resource.name))

    def ours(self) -> tuple[Found, ...]:
        """The objects that belong to the deployment."""
        return tuple(found for found in self.found.values() if found.owned_by == self.deployment)


def take_inventory(deployment: str, wanted: Iterable[Resource], managers: Managers) -> Inventory:
    """Ask the cloud for everything that a plan for this deployment has to know."""
    found = {item.key: item for manager in managers.values() for item in manager.owned(deployment)}
    for resource in wanted:
        if (resource.kind, resource.name) not in found:
            standing = managers[resource.kind].find(resource.name)
            if standing is not None:
                found[standing.key] = standing
    return Inventory(deployment, found)
