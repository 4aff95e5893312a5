"""What a run did, for people and for programs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from llm_deploy.deploy.apply import Stage, Step
from llm_deploy.deploy.plan import Action, Difference, Plan, short_kind


@dataclass(frozen=True, slots=True)
class Done:
    """One object that was made, changed or removed, and how long it took."""

    action: str
    kind: str
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Left:
    """One object that a removal did not remove.

    Attributes:
        usd_per_hour: What it bills, at list price: machines do, names do not. `None` when unknown.
    """

    kind: str
    name: str
    status: str
    usd_per_hour: float | None

    def __str__(self) -> str:
        status = f" ({self.status})" if self.status else ""
        return f"{self.kind} {self.name}{status}, {money(self.usd_per_hour)}"


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
        not_ours: What others made, or what lost its tag, beside a deleted deployment: named and left alone.
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
    left: tuple[Left, ...] = ()
    not_ours: tuple[Left, ...] = ()

    def document(self) -> dict[str, Any]:
        """The receipt as plain data, for `--json`."""
        return asdict(self)


def money(usd_per_hour: float | None) -> str:
    """A price by the hour, in words: `$1.51/h`."""
    return "price unknown" if usd_per_hour is None else f"${usd_per_hour:.2f}/h"


def what_was_done(steps: Iterable[Step]) -> tuple[Done, ...]:
    """The finished steps, without those that only found everything in place."""
    finished = (step for step in steps if step.stage is Stage.DONE and step.action is not Action.KEEP)
    return tuple(
        Done(step.action.value, short_kind(step.kind), step.name, round(step.elapsed_s, 2)) for step in finished
    )


def removed(done: Iterable[Done]) -> tuple[Done, ...]:
    """What is gone, each object once: a stack's deletion and what comes after it may both tell of one."""
    gone = {(item.kind, item.name): item for item in done if item.action == Action.DELETE.value}
    return tuple(gone.values())


def counted(count: int, noun: str) -> str:
    """A number of things in words: `1 Model`, `2 ScalingPolicies`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{count} {noun}s"


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan as plain data and without a secret, for `--dry-run --json`."""
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
                    {"path": item.path, "found": item.found, "wanted": item.wanted}
                    for item in map(masked_difference, change.differences)
                ],
                "properties": masked(change.resource.properties) if change.resource else None,
            }
            for change in plan.changes
        ],
    }


def masked(document: Any) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    """A document as plain data, with what is secret replaced, by the spec's own rule."""
    from llm_deploy.spec import masking  # noqa: PLC0415 - it brings pydantic, which a list need not pay for

    return masking.masked(document)


def masked_difference(difference: Difference) -> Difference:
    """A difference that may be shown; its values go by the last name of its path."""
    from llm_deploy.spec import masking  # noqa: PLC0415 - as above

    name = difference.path.rsplit(".", 1)[-1].partition("[")[0]
    found, wanted = (masking.masked(value, name) for value in (difference.found, difference.wanted))
    return Difference(difference.path, found, wanted)
