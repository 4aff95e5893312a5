"""What the pure half of a deployment costs: rendering a template, and planning 1,000 resources.

Run: `python -m benchmarks.planning [--rounds 15]` (ten seconds). Templates are timed in fresh interpreters that have
imported everything and done nothing, so that the data files which are read once are in the first figure, and then again
in the same interpreter; from the file's name to the text. The plans are of copies of configs/twin.yaml in one list: all
new; all standing and one in ten changed; and a single chain of dependencies that is listed backwards, the worst order.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.rounds import machine, markdown_table, spread, verdict
from llm_deploy.deploy.inventory import Found, Inventory
from llm_deploy.deploy.plan import plan
from llm_deploy.render import cloudformation
from llm_deploy.resource import TAG_DEPLOYMENT, Resource
from llm_deploy.settings import Settings
from llm_deploy.targets.blueprint import draft

ROOT = Path(__file__).resolve().parent.parent
TWIN = ROOT / "configs" / "twin.yaml"
TEMPLATE_TARGET_MS = 50.0
PLAN_TARGET_MS = 1000.0
PLANNED = 1000
CASES = {"configs/twin.yaml": False, "... with its roles": True}


def rendered(*, with_roles: bool) -> str:
    """The template's text, as `llmdeploy template` makes it."""
    found = draft(TWIN, settings=Settings(_env_file=None), with_roles=with_roles)
    return cloudformation.to_json(found.template())


def milliseconds(act: Callable[[], object]) -> float:
    """How long it takes, once."""
    started = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - started)


def first_and_second(*, with_roles: bool) -> tuple[float, float]:
    """Milliseconds of the first rendering in a fresh interpreter, and of the second."""
    command = [sys.executable, "-m", "benchmarks.planning", "--once", str(int(with_roles))]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


def many() -> list[Resource]:
    """1,000 resources: the Twin's, again and again, under other ids and names."""
    twins = draft(TWIN, settings=Settings(_env_file=None)).resources
    return [_copy(twins[index % len(twins)], index // len(twins)) for index in range(PLANNED)]


def _copy(resource: Resource, number: int) -> Resource:
    needed = tuple(f"{logical_id}{number}" for logical_id in resource.depends_on)
    return replace(resource, id=f"{resource.id}{number}", name=f"{resource.name}-{number}", depends_on=needed)


def chained_backwards(resources: Sequence[Resource]) -> list[Resource]:
    """The same, each on the next, so that only the last of the list can be first."""
    following = [*(each.id for each in resources[1:]), None]
    return [
        replace(resource, depends_on=() if needed is None else (needed,))
        for resource, needed in zip(resources, following, strict=True)
    ]


def standing(resources: Sequence[Resource]) -> Inventory:
    """What the cloud would say of them, a tenth with another tag."""
    found = [
        Found(each.kind, each.name, each.properties, _tags(each, changed=index % 10 == 0), owned_by="twin")
        for index, each in enumerate(resources)
    ]
    return Inventory("twin", {each.key: each for each in found})


def _tags(resource: Resource, *, changed: bool) -> dict[str, str]:
    return {**resource.tags, **({TAG_DEPLOYMENT: "before"} if changed and resource.tags else {})}


def template_rows(rounds: int) -> list[list[str]]:
    """Fresh interpreters in turns."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, with_roles in CASES.items():
            samples[name].append(first_and_second(with_roles=with_roles))
    rows = []
    for name, figures in samples.items():
        firsts = [first for first, _ in figures]
        again = statistics.median(second for _, second in figures)
        first = statistics.median(firsts)
        target = f"{verdict(first, TEMPLATE_TARGET_MS)}"
        rows.append([f"`{name}`", f"**{first:.1f}**", spread(firsts), f"{again:.1f}", target])
    return rows


def plan_rows(rounds: int) -> list[list[str]]:
    """In this interpreter, in turns."""
    resources = many()
    nothing = Inventory("twin", {})
    chain = chained_backwards(resources)
    cases: dict[str, Callable[[], object]] = {
        "all new": lambda: plan(resources, nothing),
        "all there, a tenth changed": lambda: plan(resources, inventory),
        "all new, one chain listed backwards": lambda: plan(chain, nothing),
    }
    inventory = standing(resources)
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, act in cases.items():
            samples[name].append(milliseconds(act))
    medians = {name: statistics.median(figures) for name, figures in samples.items()}
    return [
        [name, f"**{medians[name]:.1f}**", spread(figures), verdict(medians[name], PLAN_TARGET_MS)]
        for name, figures in samples.items()
    ]


def main() -> None:
    """Measure both and print two Markdown tables; `--once` is what the fresh interpreters run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--once", type=int, choices=(0, 1), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once is not None:
        print(*(milliseconds(lambda: rendered(with_roles=bool(asked.once))) for _ in range(2)))
        return
    print(f"{asked.rounds} rounds, medians; {machine()}\n")
    headers = ["template of", "first, ms", "quartiles", "again, ms", "target, ms"]
    print(markdown_table(headers, template_rows(asked.rounds)))
    print()
    print(markdown_table([f"plan of {PLANNED:,} resources", "ms", "quartiles", "target, ms"], plan_rows(asked.rounds)))


if __name__ == "__main__":
    main()
