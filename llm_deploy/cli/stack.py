"""`llmdeploy deploy-endpoint --via cloudformation`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_deploy.deploy.apply import Step
    from llm_deploy.spec import LoadedSpec
    from llm_deploy.targets.registry import Connection
    from llm_deploy.targets.stacked import StackDeployer, StackDeployment


@dataclass(frozen=True, slots=True)
class Terms:
    """The options of the command."""

    import_existing: bool
    dry_run: bool
    yes: bool
    as_json: bool
    wait: bool
    timeout_s: float


@dataclass(slots=True)
class Allowance:
    """The time for everything that is waited for together; a person's time to answer is not counted."""

    left_s: float

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Take off the time that the block needs."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.left_s -= time.monotonic() - began_s


def deploy_through_stack(loaded: LoadedSpec, connection: Connection, terms: Terms) -> None:
    """Show the change set as the plan, execute it, follow it, and ask the endpoint one question."""
    from llm_deploy.cli import screen
    from llm_deploy.cli.deploy import headline_of
    from llm_deploy.targets import deployment
    from llm_deploy.targets.stacked import StackDeployer

    deployer = StackDeployer(connection)
    started_s = time.monotonic()
    allowance = Allowance(terms.timeout_s)
    steps: list[Step] = []
    while True:
        with allowance.spent():
            found = deployer.plan(loaded.spec, import_existing=terms.import_existing, timeout_s=allowance.left_s)
        _show(found, loaded, terms)
        if not _agreed(deployer, found, terms):
            break
        with allowance.spent():
            steps += screen.follow(deployer.apply(found, timeout_s=allowance.left_s, wait=terms.wait))
        if not found.comes_first:
            break
    if terms.dry_run:
        return
    answer = deployment.smoke(found.deployed, connection) if terms.wait else None
    receipt = deployment.receipt(found.deployed, connection, steps, time.monotonic() - started_s, answer)
    if terms.as_json:
        screen.write_json(receipt.document())
    screen.show_receipt(receipt, headline_of(loaded.spec.name, receipt.seconds, empty=not steps, waited=terms.wait))


def _show(found: StackDeployment, loaded: LoadedSpec, terms: Terms) -> None:
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document
    from llm_deploy.render.cloudformation import stack_name

    screen.show_plan(found.plan, f"{found.name}, stack {stack_name(found.name)}:")
    for note in dict.fromkeys((*loaded.notes, *found.deployed.resolved.notes)):
        screen.say(f"  note: {note}")
    if not found.follows_first:
        screen.say(screen.count_line(found.plan))
    if terms.dry_run and terms.as_json:
        screen.write_json(plan_document(found.plan))


def _agreed(deployer: StackDeployer, found: StackDeployment, terms: Terms) -> bool:
    """Whether to go on; else the change set is taken away again, whatever it was that ended the question."""
    from llm_deploy.cli import screen

    agreed = False
    try:
        if not terms.dry_run and not found.empty:
            connection = deployer.connection
            screen.agree(f"Deploy to account {connection.account}, {connection.region}?", yes=terms.yes)
            agreed = True
    finally:
        if not agreed:
            deployer.discard(found)
    return agreed
