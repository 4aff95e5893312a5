"""What the cloud holds, in the same words as what we want."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from llm_deploy.resource import Resource, stack_of


class State(Enum):
    """What can be done with an object now, whatever words its service has for it.

    `MIXED` serves, but partly what it was and partly what it was to become: only another update mends it.
    """

    READY = "ready"
    MIXED = "mixed"
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
        stage: How far a change of it is, in words for people; empty when none is under way.
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
    stage: str = ""
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

    def create(self, resource: Resource) -> Found | None:
        """Start making it; the object, where the answer tells all of it and it needs no time.

        Raises:
            ConflictError: The name is taken, by whomever.
            BusyError: Something else is being changed that this depends on.
            NotYetError: The same call will work in a while.
        """
        ...

    def update(self, resource: Resource, found: Found) -> Found | None:
        """Start changing what was found into what is wanted; the object, as for `create`.

        Raises:
            BusyError: It is being changed already.
        """
        ...

    def delete(self, found: Found) -> None:
        """Start removing it; the absent is no error."""
        ...


@runtime_checkable
class Finishing(Protocol):
    """A manager of objects that serve: what describes them is written when they have moved, not before.

    Clients read these descriptions while a change is rolled out, and AWS may undo it.
    """

    def finish(self, resource: Resource, found: Found) -> None:
        """Bring what is said of the object (its tags) up to date with what it has become."""


@runtime_checkable
class Watching(Protocol):
    """A manager of objects that take time: how far one is takes fewer calls to see than all that `find` tells."""

    def watch(self, name: str) -> Found | None:
        """The object without its tags, and so without its owner."""
        ...


@runtime_checkable
class Surveying(Protocol):
    """A manager that finds its part of an inventory with fewer calls than one question after the other takes."""

    def survey(self, deployment: str, names: Sequence[str], found: Sequence[Found]) -> Sequence[Found]:
        """Objects of these names, whosever, and all that belong to the deployment.

        Args:
            deployment: Whose.
            names: What is wanted.
            found: What the kinds that are made earlier hold.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    """A manager that tells names without looking at what they name."""

    def named(self, deployment: str) -> Sequence[str]:
        """Names of objects, whosever, that may belong to a deployment by their name."""
        ...


@runtime_checkable
class Signing(Protocol):
    """A manager of objects that two runs may want to change at once: they carry who did so last."""

    def sign(self, found: Found, by: str) -> None:
        """Write down who has just begun to change it."""
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
    wanted = tuple(wanted)
    found: dict[tuple[str, str], Found] = {}
    for manager in managers.values():
        names = [resource.name for resource in wanted if resource.kind == manager.kind]
        survey = manager.survey if isinstance(manager, Surveying) else _one_by_one(manager)
        found |= {item.key: item for item in survey(deployment, names, tuple(found.values()))}
    return Inventory(deployment, found)


def _one_by_one(manager: KindManager) -> Callable[[str, Sequence[str], Sequence[Found]], Sequence[Found]]:
    def survey(deployment: str, names: Sequence[str], _: Sequence[Found]) -> Sequence[Found]:
        ours = manager.owned(deployment)
        known = {item.name for item in ours}
        standing = [manager.find(name) for name in names if name not in known]
        return [*ours, *(item for item in standing if item is not None)]

    return survey
