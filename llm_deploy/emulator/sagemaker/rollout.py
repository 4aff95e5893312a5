"""How an update is rolled out: the steps of a DeploymentConfig, what it may hold, and the room that it needs. Pure.

Shown as statuses, shares of machines and waits; requests go to the old copies until the last step, and to the new ones
from then on. Ledger: `local.rollout-traffic`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from llm_deploy.emulator import ledger
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.store import Document

LOOK_EVERY_S = 10.0
"""Virtual seconds between two looks at the alarms."""
LOOK_LEAST_S = 0.05
"""Real seconds between two looks at least, however fast the clock."""

_SHARES = {"CanarySize": (1, 50), "LinearStepSize": (10, 50), "MaximumBatchSize": (5, 50)}
_SIZE_OF = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}


def check(config: Document, fleet: int) -> None:
    """Refuse a DeploymentConfig that contradicts itself or the fleet. Ledger: `sm.update.*`.

    Raises:
        ServiceError: It does.
    """
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if blue_green and rolling:
        raise refusal("sm.update.one-policy")
    routing = (blue_green or {}).get("TrafficRoutingConfiguration", {})
    wanted = _SIZE_OF.get(routing.get("Type", ""))
    if wanted is not None and wanted not in routing:
        raise refusal("sm.update.size-needed", member=wanted, type=routing["Type"])
    for place in (routing, rolling or {}):
        for member, (least, most) in _SHARES.items():
            if member in place:
                _check_share(member, place[member], fleet, least, most)


def steps(config: Document, fleet: int) -> list[Document]:
    """What is done one after the other: machines (copies) on the new side, seconds of baking, and AWS's word for it."""
    rolling = config.get("RollingUpdatePolicy")
    if rolling:
        sizes, word = _batches(rolling["MaximumBatchSize"], fleet), "batch"
        wait_s = rolling["WaitIntervalInSeconds"]
    else:
        routing = config.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
        sizes, word = _shifts(routing, fleet), "canary" if routing.get("Type") == "CANARY" else "partial"
        wait_s = routing.get("WaitIntervalInSeconds", 0)
    return [
        {
            "active": size,
            "wait_s": wait_s,
            "capacity": "full" if size == fleet else word,
            "why": "WaitIntervalInSeconds",
        }
        for size in sizes
    ] + list(_termination(config, fleet))


def alarms(config: Document) -> list[str]:
    """The names of the alarms that undo it."""
    return [alarm["AlarmName"] for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", ())]


def limit_s(config: Document) -> float | None:
    """MaximumExecutionTimeoutInSeconds, where it is set."""
    policy = config.get("RollingUpdatePolicy") or config.get("BlueGreenUpdatePolicy") or {}
    limit: float | None = policy.get("MaximumExecutionTimeoutInSeconds")
    return limit


def needed_beside(config: Document, fleet: int) -> int:
    """Machines beside the old fleet: another fleet, or one batch. Ledger: `sm.update.capacity`."""
    rolling = config.get("RollingUpdatePolicy")
    return _count(rolling["MaximumBatchSize"], fleet) if rolling else fleet


def status(step: Document, fleet: int, since: float) -> Document:
    """A step as VariantStatus. Ledger: `sm.update.status`."""
    if not step:
        return {
            "Status": "Creating",
            "StatusMessage": ledger.text("sm.update.launching", count=fleet),
            "StartTime": since,
        }
    words = ledger.text(
        "sm.update.baking", seconds=step["wait_s"], why=step["why"], capacity=step["capacity"], count=step["active"]
    )
    return {"Status": "Baking", "StatusMessage": words, "StartTime": since}


def _check_share(member: str, size: Document, fleet: int, least: int, most: int) -> None:
    value = size["Value"]
    share = value if size["Type"] == "CAPACITY_PERCENT" else 100 * value / max(fleet, 1)
    if not least <= share <= most:
        raise refusal("sm.update.share", member=member, least=least, most=most)


def _shifts(routing: Document, fleet: int) -> Sequence[int]:
    """Sizes of the new side after each shift of traffic."""
    if routing.get("Type") == "CANARY":
        canary = _count(routing["CanarySize"], fleet)
        return [canary, fleet] if canary < fleet else [fleet]
    return _batches(routing["LinearStepSize"], fleet) if routing.get("Type") == "LINEAR" else [fleet]


def _batches(size: Document, fleet: int) -> Sequence[int]:
    step = _count(size, fleet)
    return [*range(step, fleet, step), fleet]


def _count(size: Document, fleet: int) -> int:
    """A size as a number; a part of a machine is a machine. Ledger: `sm.update.whole-machines`."""
    value = ceil(fleet * size["Value"] / 100) if size["Type"] == "CAPACITY_PERCENT" else size["Value"]
    return max(1, min(int(value), max(fleet, 1)))


def _termination(config: Document, fleet: int) -> Iterator[Document]:
    wait_s = config.get("BlueGreenUpdatePolicy", {}).get("TerminationWaitInSeconds", 0)
    if wait_s:
        yield {"active": fleet, "wait_s": wait_s, "capacity": "full", "why": "TerminationWaitInSeconds"}
