"""Real processes at once on one deployment of the local cloud: one has it, the others say so, nothing is torn."""

from __future__ import annotations

import os
import random
import subprocess
import time

import pytest

from tests.conftest import ROOT, Result, Terminal
from tests.functional.connections import standing

TWIN = str(ROOT / "configs" / "twin.yaml")
SEED = "LLMDEPLOY_TEST_SEED"
CONFLICT, DEPLOY_FAILED, LEFT, BUSY = 7, 9, 11, 17
UNANSWERED = frozenset({6, *range(20, 27)})
"""A deploy's last question to an endpoint that goes away meanwhile."""
ROUNDS = 2

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> random.Random:
    """Other moments in every run; a failure's report says how to have the same again."""
    seed = int(os.environ.get(SEED) or int.from_bytes(os.urandom(4)))
    request.node.add_report_section("setup", "seed", f"{SEED}={seed} draws the same moments again")
    return random.Random(seed)  # noqa: S311 - moments, not secrets


def spec(endpoint_type: str, limit: int) -> tuple[str, ...]:
    """Arguments that make one of several deployments under the name `race`."""
    settings = ("--set", "name=race", "--set", f"limits.max_input_tokens={limit}")
    return "deploy-endpoint", TWIN, "--endpoint-type", endpoint_type, *settings


def at_once(terminal: Terminal, *commands: tuple[str, ...], apart_s: float = 0.0) -> list[Result]:
    """Start commands one shortly after the other and wait for all."""
    started: list[subprocess.Popen[str]] = []
    for command in commands:
        started.append(terminal.start(*command))
        time.sleep(apart_s)
    ended = [process.communicate(timeout=120) for process in started]
    return [Result(process.returncode, *texts) for process, texts in zip(started, ended, strict=True)]


def serves(terminal: Terminal, command: tuple[str, ...]) -> bool:
    """Whether what stands is this deployment; what it does not want may be left for its next run."""
    changes = terminal.run(*command, "--dry-run", "--json").json["changes"]
    return all(change["action"] in {"keep", "delete"} for change in changes)


@pytest.mark.row("T3")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_different_specs_at_once(
    local_cloud: Terminal, pointed_at_it: dict[str, str], moments: random.Random, endpoint_type: str
) -> None:
    """First deploys, then updates of what stands: whoever loses exits with 7, and what stands is a winner's."""
    specs = [spec(endpoint_type, limit) for limit in (1024, 1280)]
    for round_ in range(ROUNDS):
        commands = [(*command, "--yes") for command in specs]
        results = at_once(local_cloud, *commands, apart_s=moments.uniform(0, 0.4))
        codes = [result.code for result in results]
        said = "\n".join(result.err for result in results)
        assert set(codes) <= {0, CONFLICT}, said
        won = [command for command, code in zip(specs, codes, strict=True) if code == 0]
        assert any(serves(local_cloud, command) for command in won), said
        assert all("another run" in result.err for result in results if result.code == CONFLICT), said
        specs = [spec(endpoint_type, 1024 + 64 * (round_ + 1) + each) for each in (0, 32)]
    local_cloud.run("delete-endpoint", "race", "--yes")
    assert not any(standing(pointed_at_it, "race").values())


@pytest.mark.row("T3")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_the_same_spec_at_once(
    local_cloud: Terminal, pointed_at_it: dict[str, str], moments: random.Random, endpoint_type: str
) -> None:
    """Three of one spec: all of them end well, and there is one deployment."""
    for limit in (1024, 1280):
        command = (*spec(endpoint_type, limit), "--yes")
        results = at_once(local_cloud, command, command, command, apart_s=moments.uniform(0, 0.2))
        assert [result.code for result in results] == [0, 0, 0], "\n".join(result.err for result in results)
        assert "Nothing to change" in local_cloud.run(*command).err
        found = standing(pointed_at_it, "race")
        assert len(found["endpoints"]) == len(found["targets"]) == len(found["policies"]) == 1
    local_cloud.run("delete-endpoint", "race", "--yes")
    assert not any(standing(pointed_at_it, "race").values())


@pytest.mark.row("T12")
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_a_deploy_and_a_deletion_at_once(
    local_cloud: Terminal, pointed_at_it: dict[str, str], moments: random.Random, endpoint_type: str
) -> None:
    """In either order: what went wrong is said with an exit code of its own, and the next deletion leaves nothing."""
    deploy, delete = (*spec(endpoint_type, 1024), "--yes"), ("delete-endpoint", "race", "--yes")
    for first, second in ((deploy, delete), (delete, deploy)):
        if first is delete:
            local_cloud.run(*deploy)
        for result in at_once(local_cloud, first, second, apart_s=moments.uniform(0.3, 1.5)):
            assert result.code in {0, CONFLICT, DEPLOY_FAILED, LEFT, BUSY, *UNANSWERED}, result.err
            assert result.code == 0 or result.err.count("error: ") == 1
            assert "Traceback" not in result.err
        local_cloud.run(*delete)
        assert not any(standing(pointed_at_it, "race").values())
