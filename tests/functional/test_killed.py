"""SIGKILL at random moments of a deploy and of a delete, then the same command again: it ends right each time."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.conftest import ROOT, Terminal
from tests.functional.test_main_job import everything

TWIN = str(ROOT / "configs" / "twin.yaml")
MOMENTS = 5
MOST = 3
SEED = "LLMDEPLOY_TEST_SEED"

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> random.Random:
    """Other moments in every run; a failure's report says how to have the same again."""
    seed = int(os.environ.get(SEED) or int.from_bytes(os.urandom(4)))
    request.node.add_report_section("setup", "seed", f"{SEED}={seed} draws the same moments again")
    return random.Random(seed)  # noqa: S311 - moments, not secrets


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
@pytest.mark.parametrize(("endpoint_type", "components"), [("inference-component", 1), ("model", 0)])
def test_killed_anywhere_and_run_again_both_ways_end_right(
    local_cloud: Terminal,
    pointed_at_it: dict[str, str],
    moments: random.Random,
    endpoint_type: str,
    components: int,
) -> None:
    """Kills spread over each command's whole length; afterwards a deploy is whole and a delete is total."""
    deploy = ("deploy-endpoint", TWIN, "--endpoint-type", endpoint_type, "--yes")
    delete = ("delete-endpoint", "twin", "--yes")
    deploy_s, delete_s = duration_s(local_cloud, *deploy), duration_s(local_cloud, *delete)
    whole = {"models": 1, "configs": 1, "endpoints": 1, "components": components, "targets": 1, "alarms": 2}
    deploys_cut = deletes_cut = 0
    for _ in range(MOMENTS):
        deploys_cut += killed_after(local_cloud, moments.uniform(0.3, deploy_s), *deploy)
        local_cloud.run(*deploy)
        assert {kind: len(items) for kind, items in everything(pointed_at_it).items()} == whole
        assert "nothing was changed" in local_cloud.run(*deploy).err
        deletes_cut += killed_after(local_cloud, moments.uniform(0.3, delete_s), *delete)
        local_cloud.run(*delete)
        assert not any(everything(pointed_at_it).values())
    assert deploys_cut >= MOST, f"most kills have to hit a running deploy (of {deploy_s:.1f} s), or they prove nothing"
    assert deletes_cut >= MOST, f"most kills have to hit a running delete (of {delete_s:.1f} s), or they prove nothing"
