"""Write `docs/reference/calls.md` from the golden file of calls; a test holds the page to it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "calls.md"
PINNED = ROOT / "tests" / "golden" / "calls.json"
READS = ("Describe", "List", "Get")
HEAD = """# Calls

What each flow asks of AWS, counted. Written by `python scripts/calls.py` from `tests/golden/calls.json`, which
`tests/functional/test_calls.py` records with botocore's hooks on the local cloud and holds: a call more is a failing
test. The deployment is `configs/twin.yaml`, with autoscaling.

A look that is repeated while an object takes its time is counted once and named as polled: how often it is repeated is
bounded by time, not by number (every 0.25 s at first, then every twentieth of the time waited, at most every 10 s).
Left out are `sts:GetCallerIdentity`, which a command asks once; the look at the containers' log in long waits, every
10 s; and the question that a deploy asks at its end.

Reads that look doubled are not: a second `Describe` of an endpoint or component stands right before a call that another
run may have made wrong ([Interruptions and concurrency](../explanation/interruptions-and-concurrency.md)).
"""
TITLES = {
    "model": "Endpoints that serve a model",
    "inference-component": "Endpoints with an inference component",
    "roles": "Roles, with a user",
}
FLOWS = (
    "dry run, nothing there",
    "create",
    "the same again",
    "another model",
    "another machine",
    "another target of the scaling",
    "list",
    "status",
    "delete",
    "delete, nothing there",
    "create-roles",
    "create-roles, the same again",
    "delete-roles",
)


def page() -> str:
    """The page's text."""
    pinned = json.loads(PINNED.read_text("utf-8"))
    return HEAD + "".join(_section(title, pinned[name]) for name, title in TITLES.items())


def _section(title: str, story: dict[str, list[str]]) -> str:
    rows = "".join(_row(flow, story[flow]) for flow in FLOWS if flow in story)
    return (
        f"\n## {title}\n\n| flow | calls | change something | read | which |\n| --- | --- | --- | --- | --- |\n{rows}"
    )


def _row(flow: str, calls: list[str]) -> str:
    names = [call.partition(":")[2] for call in calls]
    reads = sum(name.startswith(READS) for name in names)
    which = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in Counter(names).items())
    return f"| {flow} | {len(calls)} | {len(calls) - reads} | {reads} | {which} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(PAGE.name)
