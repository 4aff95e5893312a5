"""Which generation serves, and which one served before: read from the cloud, without a state file. Pure.

A generation is what answers: an endpoint's config and, on an endpoint of inference components, the component's
document (which model, which room for each copy). Configs and models are content-named and kept; but a component is
changed in place, and a config does not tell the sampling of its time. So the endpoint carries two marks, written in one
call before anything moves:

    previous   what is being left, and (`to`) what it is left for
    earlier    what was the previous generation until then

While the move has not happened, or AWS has undone it, `previous` is what serves and `earlier` still counts. When all of
it has moved, `reached` says so: a rollback that was cut off is then not taken for one that can be rolled back. Tags are
no lock: a run that comes too late may have written its marks over those of the run that moves, which therefore writes
its own once more together with `reached`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MARKS,
    MODEL,
    TAG_EARLIER,
    TAG_EARLIER_COMPONENT,
    TAG_PREVIOUS,
    TAG_PREVIOUS_COMPONENT,
    TAG_REACHED,
    TAG_SAMPLING,
    Resource,
    content_hash,
)

Key = tuple[str, str]
Document = Mapping[str, Any]

NONE = "none"
"""The value of a mark that says nothing: a tag that is left out would not take an earlier one away."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "model": ("ModelName",),
    "memory_mib": ("ComputeResourceRequirements", "MinMemoryRequiredInMb"),
    "max_memory_mib": ("ComputeResourceRequirements", "MaxMemoryRequiredInMb"),
    "cpus": ("ComputeResourceRequirements", "NumberOfCpuCoresRequired"),
    "accelerators": ("ComputeResourceRequirements", "NumberOfAcceleratorDevicesRequired"),
    "download_s": ("StartupParameters", "ModelDataDownloadTimeoutInSeconds"),
    "startup_s": ("StartupParameters", "ContainerStartupHealthCheckTimeoutInSeconds"),
}
"""A component's specification in words that together fit a tag's 256 characters, and where each stands in it."""
_FLOATS = frozenset({"cpus", "accelerators"})
_COPIES = "copies"
_BACK = "back-"


@dataclass(frozen=True, slots=True)
class Generation:
    """What answered at some time.

    Attributes:
        config: Name of the endpoint config.
        component: The component's document in `WORDS`, and its copies; `None` on a model-based endpoint.
        sampling: The clients' defaults then, as in the endpoint's tag.
    """

    config: str
    component: Mapping[str, str] | None = None
    sampling: str = ""

    @property
    def id(self) -> str:
        """Eight hexadecimal digits by which a person names it. How many copies there are is no part of it."""
        return content_hash({"config": self.config, "component": self._version})

    @property
    def _version(self) -> dict[str, str] | None:
        if self.component is None:
            return None
        return {word: value for word, value in self.component.items() if word != _COPIES}

    def serves_like(self, other: Generation) -> bool:
        """Whether both are the same config and the same component's document."""
        return self.id == other.id

    @property
    def specification(self) -> dict[str, Any]:
        """The component's document, as AWS takes it; empty on a model-based endpoint."""
        found: dict[str, Any] = {}
        for word, (*parents, last) in WORDS.items():
            if self.component is None or word not in self.component:
                continue
            place = found
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = _value(word, self.component[word])
        return found

    @property
    def copies(self) -> int:
        """How many copies there were."""
        return int((self.component or {}).get(_COPIES, "1"))


def in_use(inventory: Inventory) -> Generation | None:
    """What the endpoint and its component are on now, as the cloud describes them; `None` without an endpoint."""
    endpoint, component = only(inventory, ENDPOINT), only(inventory, INFERENCE_COMPONENT)
    if endpoint is None or "EndpointConfigName" not in endpoint.properties:
        return None
    return Generation(
        str(endpoint.properties["EndpointConfigName"]),
        None if component is None else _words(component.properties),
        endpoint.tags.get(TAG_SAMPLING, ""),
    )


def previous(inventory: Inventory) -> Generation | None:
    """What served before, as far as all of it is still there."""
    marked = _marked_previous(inventory)
    return marked if marked is not None and _stands(marked, inventory) else None


def to_return_to(inventory: Inventory) -> Generation | None:
    """Where undoing the last move leads; `None` where none was ever made, or its way back is gone.

    It is what serves already where there is nothing to undo: the move never happened, the cloud has undone it, or it
    was a rollback and has ended. Who rolls back after the cloud did, or twice, must not land two generations away.
    """
    endpoint, now = only(inventory, ENDPOINT), in_use(inventory)
    if endpoint is None or now is None:
        return None
    left = _read(endpoint.tags, TAG_PREVIOUS, TAG_PREVIOUS_COMPONENT)
    goal, open_goal = goal_in(endpoint.tags), under_way(endpoint)
    if endpoint.state is not State.MIXED:
        if open_goal is not None and open_goal.startswith(_BACK):
            left = _read(endpoint.tags, TAG_EARLIER, TAG_EARLIER_COMPONENT)
        elif goal == back_to(now):
            return now
    return left if left is not None and _stands(left, inventory) else None


def under_way(endpoint: Found) -> str | None:
    """The goal of a move that has begun and is not known to have ended; `None` when there is none."""
    goal = goal_in(endpoint.tags)
    return goal if goal != endpoint.tags.get(TAG_REACHED) else None


def goal_in(tags: Mapping[str, str]) -> str | None:
    """What an endpoint's marks say that it was last left for."""
    return _pairs(tags.get(TAG_PREVIOUS, "")).get("to")


def back_to(generation: Generation) -> str:
    """The goal of a rollback, which can be told from that of a deploy."""
    return f"{_BACK}{generation.id}"


def leaving(inventory: Inventory, goal: str, wanted: Generation | None) -> tuple[Generation | None, Mapping[str, str]]:
    """The generation that a move to a goal leaves, and the marks that tell it.

    They are those that are there when the move to that goal had begun already: going on with a move that was cut off
    must not take what it left half made for a generation. It has not begun, whatever the marks say, where something
    else serves than it leads from or to: then they are of a run that came too late.
    """
    endpoint, now = only(inventory, ENDPOINT), in_use(inventory)
    if endpoint is None or now is None:
        return now, {}
    begun = _read(endpoint.tags, TAG_PREVIOUS, TAG_PREVIOUS_COMPONENT)
    if begun is not None and goal_in(endpoint.tags) == goal and _is_between(begun, now, wanted):
        return begun, {mark: endpoint.tags[mark] for mark in sorted(MARKS & endpoint.tags.keys())}
    return now, {
        **_written(now, TAG_PREVIOUS, TAG_PREVIOUS_COMPONENT, goal),
        **_written(_marked_previous(inventory), TAG_EARLIER, TAG_EARLIER_COMPONENT, ""),
    }


def goal_of(wanted: Iterable[Resource]) -> str:
    """A hash of what a list of resources wants to serve."""
    parts = {
        resource.kind: resource.properties.get("EndpointConfigName") or resource.properties.get("Specification")
        for resource in wanted
        if resource.kind in {ENDPOINT, INFERENCE_COMPONENT}
    }
    return content_hash(parts)


def wanted(resources: Iterable[Resource]) -> Generation | None:
    """What a list of resources wants to serve, as far as it says."""
    by_kind = {resource.kind: resource for resource in resources}
    endpoint, component = by_kind.get(ENDPOINT), by_kind.get(INFERENCE_COMPONENT)
    if endpoint is None:
        return None
    config = str(endpoint.properties["EndpointConfigName"])
    return Generation(config, None if component is None else _words(component.properties))


def objects_of(generation: Generation, objects: Iterable[Found]) -> set[Key]:
    """The config and the models that a generation is made of, of those that are there."""
    by_key = {found.key: found for found in objects}
    config = by_key.get((ENDPOINT_CONFIG, generation.config))
    wanted = {(ENDPOINT_CONFIG, generation.config), *((MODEL, name) for name in models_of(generation, config))}
    return wanted & by_key.keys()


def models_of(generation: Generation, config: Found | None) -> Sequence[str]:
    """The names of a generation's models: the component's, else those of the config's variants."""
    if generation.component is not None:
        return [generation.component["model"]] if "model" in generation.component else []
    variants = config.properties.get("ProductionVariants", ()) if config else ()
    return [str(variant["ModelName"]) for variant in variants if "ModelName" in variant]


def only(inventory: Inventory, kind: str) -> Found | None:
    """The deployment's one object of a kind."""
    return next((found for found in inventory.ours() if found.kind == kind), None)


def _marked_previous(inventory: Inventory) -> Generation | None:
    """What the marks say that served before what serves now."""
    endpoint, now = only(inventory, ENDPOINT), in_use(inventory)
    if endpoint is None or now is None:
        return None
    left = _read(endpoint.tags, TAG_PREVIOUS, TAG_PREVIOUS_COMPONENT)
    if left is not None and left.serves_like(now):
        return _read(endpoint.tags, TAG_EARLIER, TAG_EARLIER_COMPONENT)
    return left


def _is_between(begun: Generation, now: Generation, goal: Generation | None) -> bool:
    """Whether what serves is what a move leads from, where it leads to, or partly this and partly that."""
    if goal is None:
        return False
    component = now.component
    there = component is None or all(
        component.get(word) == value for word, value in (goal.component or {}).items() if word != _COPIES
    )
    return now.config in {begun.config, goal.config} and (there or replace(begun, config=now.config).serves_like(now))


def _stands(generation: Generation, inventory: Inventory) -> bool:
    """Whether all of it is there, and it has a component where there is one now: none is ever removed to go back."""
    if (generation.component is None) != (only(inventory, INFERENCE_COMPONENT) is None):
        return False
    ours = {found.key: found for found in inventory.ours()}
    config = ours.get((ENDPOINT_CONFIG, generation.config))
    return config is not None and all((MODEL, name) in ours for name in models_of(generation, config))


def _written(generation: Generation | None, tag: str, component_tag: str, goal: str) -> dict[str, str]:
    if generation is None:
        return {tag: NONE, component_tag: NONE}
    to = [f"to={goal}"] if goal else []
    words = generation.component
    return {
        tag: " ".join([f"config={generation.config}", *to, generation.sampling]).strip(),
        component_tag: NONE if words is None else " ".join(f"{word}={value}" for word, value in words.items()),
    }


def _read(tags: Mapping[str, str], tag: str, component_tag: str) -> Generation | None:
    """A generation from its marks; `None` where they say nothing, or nothing that we wrote: anybody may set tags."""
    words = _pairs(tags.get(tag, NONE))
    config = words.pop("config", None)
    if config is None:
        return None
    words.pop("to", None)
    text = tags.get(component_tag, NONE)
    sampling = " ".join(f"{word}={value}" for word, value in words.items())
    return Generation(config, None if text == NONE else _pairs(text), sampling)


def _pairs(text: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in text.split() if "=" in item)


def _words(properties: Document) -> dict[str, str]:
    found = {}
    for word, path in WORDS.items():
        value: Any = properties.get("Specification", {})
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            found[word] = f"{value:g}" if word in _FLOATS else str(value)
    copies = properties.get("RuntimeConfig", {}).get("CopyCount")
    return found if copies is None else {**found, _COPIES: str(copies)}


def _value(word: str, text: str) -> str | int | float:
    if word == "model":
        return text
    return float(text) if word in _FLOATS else int(text)
