"""What a run did, for people and for programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llm_deploy.deploy.apply import Stage, Step
from llm_deploy.deploy.plan import Action, Plan, short_kind

MASK = "********"
_SECRET_NAME = re.compile(r"TOKEN$|SECRET|PASSWORD|API_?KEY|ACCESS_?KEY", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"^hf_[A-Za-z0-9]{16,}$")


@dataclass(frozen=True, slots=True)
class Done:
    """One object that was made, changed or removed, and how long it took."""

    action: str
    kind: str
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Smoke:
    """The one request that was sent to the new endpoint. Times are of this cloud, whichever it is."""

    prompt: str
    text: str
    first_token_s: float | None
    total_s: float
    generated_tokens: int | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The end of a run.

    Attributes:
        usd_per_hour: What runs now costs, at list price; `None` when the price is unknown, 0 after a deletion.
        left: What a deletion's last search found; empty is the proof.
    """

    deployment: str
    target: str
    account: str
    region: str
    done: tuple[Done, ...]
    seconds: float
    usd_per_hour: float | None
    price_note: str | None = None
    smoke: Smoke | None = None
    notes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The receipt as plain data, for `--json`."""
        return asdict(self)


def what_was_done(steps: Iterable[Step]) -> tuple[Done, ...]:
    """The finished steps, without those that only found everything in place."""
    finished = (step for step in steps if step.stage is Stage.DONE and step.action is not Action.KEEP)
    return tuple(
        Done(step.action.value, short_kind(step.kind), step.name, round(step.elapsed_s, 2)) for step in finished
    )


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan as plain data, for `--dry-run --json`."""
    return {
        "deployment": plan.deployment,
        "changes": [
            {
                "action": change.action.name.lower(),
                "kind": change.kind,
                "name": change.name,
                "purpose": change.purpose,
                "note": change.note,
                "differences": [
                    {"path": item.path, "found": item.found, "wanted": item.wanted} for item in change.differences
                ],
                "properties": masked(change.resource.properties) if change.resource else None,
            }
            for change in plan.changes
        ],
    }


def masked(value: Any) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    """A document as plain data, with the values of variables that hold secrets replaced."""
    if isinstance(value, Mapping):
        return {key: MASK if _is_secret(key, item) else masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def _is_secret(name: object, value: object) -> bool:
    if not isinstance(value, str):
        return False
    return bool(_SECRET_NAME.search(str(name)) or _SECRET_VALUE.match(value))
