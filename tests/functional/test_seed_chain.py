"""The seed's chain of objects, as it is imported and called: strategy over service over resource manager."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

import llm_deploy
from tests.conftest import Terminal

pytestmark = pytest.mark.xdist_group("local-cloud")


@dataclass
class CountingClock:
    """The machine's clock, and a note of every sleep on it."""

    sleeps: list[float] = field(default_factory=list)

    def now_s(self) -> float:
        """The real time: the local cloud lives in it."""
        return SYSTEM.now_s()

    def sleep(self, seconds: float) -> None:
        """Sleep, and note it."""
        self.sleeps.append(seconds)
        SYSTEM.sleep(seconds)


SYSTEM = llm_deploy.DeploymentService(llm_deploy.ResourceManager()).clock


@pytest.mark.row("T3")
def test_the_strategy_uses_the_service_that_it_is_given(local_cloud: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock waits for the endpoint, so an injected service is the one that deploys."""
    for name, value in local_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(local_cloud.folder)
    clock = CountingClock()
    service = llm_deploy.DeploymentService(llm_deploy.ResourceManager(), clock)
    spec = llm_deploy.DeploymentSpec.model_validate({"name": "chain", "model": "org/m", "endpoint_type": "model"})
    receipt = llm_deploy.SagemakerHuggingfaceStrategy(service).deploy(spec)
    assert receipt.smoke is not None
    assert clock.sleeps, "the endpoint takes time, and it was waited for on this clock"
    local_cloud.run("delete-endpoint", "chain", "--yes")
