"""The generations of a deployment that are still there, and what differs between them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llm_deploy.deploy.generations import Generation, in_use, models_of, objects_of, previous
from llm_deploy.deploy.inventory import Found, Inventory
from llm_deploy.deploy.plan import Difference
from llm_deploy.deploy.receipt import masked_difference
from llm_deploy.resource import ENDPOINT_CONFIG, IMMUTABLE_KINDS, MODEL

IN_USE, PREVIOUS, UNUSED = "in use", "previous", "unused"

_NO_PART = frozenset(
    {
        "ModelName",
        "ModelArn",
        "EndpointConfigName",
        "EndpointConfigArn",
        "CreationTime",
        "VariantName",
        "model",
        "copies",
    }
)
"""Names and times: other in every generation, and no reason for it."""


@dataclass(frozen=True, slots=True)
class Differs:
    """One property that is not as in the generation in use; what is secret is masked."""

    name: str
    here: Any
    in_use: Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One generation, or an object that no generation has.

    Attributes:
        id: What `rollback --to` takes; empty for what never served.
        state: `in use`, `previous`, or `unused`: made for an update that did not happen; the next deploy removes it.
        made: When the newest of its objects was made.
        differs: From the generation in use.
    """

    id: str
    state: str
    config: str
    models: tuple[str, ...]
    made: datetime | None
    differs: tuple[Differs, ...] = ()


def history(inventory: Inventory) -> tuple[Entry, ...]:
    """What serves, what served before, and what was made and never served."""
    now, before = in_use(inventory), previous(inventory)
    known = [(now, IN_USE), (before, PREVIOUS)]
    entries = [_entry(generation, state, now, inventory) for generation, state in known if generation is not None]
    spoken_for = set().union(*(objects_of(item, inventory.ours()) for item, _ in known if item is not None))
    spare = [found for found in inventory.ours() if found.kind in IMMUTABLE_KINDS and found.key not in spoken_for]
    return (*entries, *(_unused(found) for found in spare))


def _entry(generation: Generation, state: str, now: Generation | None, inventory: Inventory) -> Entry:
    ours = {found.key: found for found in inventory.ours()}
    config = ours.get((ENDPOINT_CONFIG, generation.config))
    moments = [ours[key].created_at for key in objects_of(generation, ours.values())]
    here, there = _facts(generation, ours), _facts(now, ours) if now else {}
    return Entry(
        generation.id,
        state,
        generation.config,
        tuple(models_of(generation, config)),
        max((moment for moment in moments if moment is not None), default=None),
        tuple(
            _masked(Differs(name, here.get(name), there.get(name)))
            for name in dict.fromkeys((*here, *there))
            if here.get(name) != there.get(name)
        ),
    )


def _masked(item: Differs) -> Differs:
    masked = masked_difference(Difference(item.name, item.here, item.in_use))
    return Differs(item.name, masked.found, masked.wanted)


def _unused(found: Found) -> Entry:
    config, models = (found.name, ()) if found.kind == ENDPOINT_CONFIG else ("", (found.name,))
    return Entry("", UNUSED, config, models, found.created_at)


def _facts(generation: Generation, ours: Mapping[tuple[str, str], Found]) -> dict[str, Any]:
    """Everything that makes a generation what it is, by short names."""
    config = ours.get((ENDPOINT_CONFIG, generation.config))
    documents = [ours[MODEL, name].properties for name in models_of(generation, config) if (MODEL, name) in ours]
    parts = [*documents, *([config.properties] if config else []), dict(generation.component or {})]
    return {name: value for part in parts for name, value in _leaves("", part)} | {"sampling": generation.sampling}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a document's values are of any JSON type
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _NO_PART:
                yield from _leaves(key, item)
    elif isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value):
        for item in value:
            yield from _leaves(name, item)
    else:
        yield name, value
