"""SIGKILL at random moments of a deploy and of a delete, then the same command again: it ends right each time."""

from __future__ import annotations

import random
import time

import pytest

from tests.conftest import ROOT, Terminal
from tests.functional.test_main_job import everything

TWIN = str(ROOT / "configs" / "twin.yaml")
MOMENTS = 10
SEED = 20261122

pytestmark = pytest.mark.xdist_group("local-cloud")


def killed_after(terminal: Terminal, seconds: float, *arguments: str) -> bool:
    """Start a command and kill it; whether it was still running then."""
    process = terminal.start(*arguments)
    time.sleep(seconds)
    running = process.poll() is None
    process.kill()
    process.communicate()
    return running


def duration_s(terminal: Terminal, *arguments: str) -> float:
    """How long a command takes when nobody kills it."""
    started_s = time.monotonic()
    terminal.run(*arguments)
    return time.monotonic() - started_s


@pytest.mark.row("T3")
@pytest.mark.row("T12")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_anywhere_and_run_again_both_ways_end_right(
    local_cloud: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """Ten kills of each, spread over the command's whole length; afterwards a deploy is whole and a delete is total."""
    deploy, delete = ("deploy-endpoint", TWIN, "--yes"), ("delete-endpoint", "twin", "--yes")
    deploy_s, delete_s = duration_s(local_cloud, *deploy), duration_s(local_cloud, *delete)
    moments = random.Random(SEED)  # noqa: S311 - moments, not secrets
    cut = 0
    for _ in range(MOMENTS):
        cut += killed_after(local_cloud, moments.uniform(0.3, deploy_s), *deploy)
        local_cloud.run(*deploy)
        found = everything(pointed_at_it)
        assert {kind: len(items) for kind, items in found.items()} == {
            "models": 1,
            "configs": 1,
            "endpoints": 1,
            "components": 1,
            "targets": 1,
            "alarms": 2,
        }
        assert "nothing was changed" in local_cloud.run(*deploy).err
        cut += killed_after(local_cloud, moments.uniform(0.3, delete_s), *delete)
        local_cloud.run(*delete)
        assert not any(everything(pointed_at_it).values())
    assert cut >= MOMENTS, "most kills have to hit a running command, or this proves nothing"
