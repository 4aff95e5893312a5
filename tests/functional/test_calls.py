"""How many calls each flow makes, one by one, pinned as a golden file.

`UPDATE_GOLDEN=1` rewrites it; `make docs` then writes docs/reference/calls.md from it. A look that is repeated while an
object takes its time counts once, as a poll: how often it is repeated depends on the cloud.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.roles import Roles, wish_for
from llm_deploy.targets.sagemaker.leftovers import leftovers
from llm_deploy.targets.sagemaker.overview import deployment_status, deployments
from tests.conftest import ROOT
from tests.functional.connections import delete, deploy, specified

PINNED = ROOT / "tests" / "golden" / "calls.json"
SERVICES = ("sagemaker", "application-autoscaling", "cloudwatch", "iam", "logs", "s3", "sts")
READS = ("Describe", "List", "Get")
POLLED = " (polled)"

pytestmark = pytest.mark.xdist_group("local-cloud")


@dataclass
class Counter:
    """Every call of a connection from now on, polls folded into one."""

    calls: list[str] = field(default_factory=list)
    _last: tuple[str, str] = ("", "")

    def listen(self, connection: Connection) -> None:
        """Count the calls of all clients, those of a session that sends once included."""
        once = connection.session.once()
        for service in SERVICES:
            connection.session.client(service).meta.events.register("before-parameter-build.*.*", self._note)
        # What this session makes from now on has its hooks.
        once._clients["botocore"].register("before-parameter-build.*.*", self._note)

    def taken(self) -> list[str]:
        """What was called since the last look."""
        calls, self.calls, self._last = self.calls, [], ("", "")
        return calls

    def _note(self, params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore ships no types
        name = f"{model.service_model.service_name}:{model.name}"
        call = (name, json.dumps(params, sort_keys=True, default=str))
        if name.startswith("logs:"):
            return  # a wait looks at the log every ten seconds; on a fast cloud it never gets there
        if call == self._last and model.name.startswith(READS):
            self.calls[-1] = name + POLLED
        else:
            self.calls.append(name)
        self._last = call


@pytest.fixture
def counted(connection: Connection) -> Counter:
    """A counter on a connection that knows already who it is: a command asks that once, before it shows its plan."""
    assert connection.account
    counter = Counter()
    counter.listen(connection)
    return counter


def pin(name: str, story: dict[str, list[str]]) -> None:
    """Compare with the golden file, or write it."""
    story = {flow: without_lengths(calls) for flow, calls in story.items()}
    pinned = json.loads(PINNED.read_text("utf-8")) if PINNED.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        PINNED.write_text(json.dumps({**pinned, name: story}, indent=1, sort_keys=True) + "\n", "utf-8")
        return
    assert story == pinned[name]


def without_lengths(calls: list[str]) -> list[str]:
    """Polls as such however often they were repeated: once is enough on a cloud that is quicker than the look."""
    slow = ("sagemaker:DescribeEndpoint", "sagemaker:DescribeInferenceComponent")
    return [call if call.removesuffix(POLLED) in slow else call.removesuffix(POLLED) for call in calls]


@pytest.mark.row("T3")
@pytest.mark.parametrize("endpoint_type", ["inference-component", "model"])
def test_calls_of_deployments(connection: Connection, counted: Counter, endpoint_type: str) -> None:
    """Dry run, create, nothing to do, another model, another machine, other scaling, list, status, delete."""
    name = "counted"
    story: dict[str, list[str]] = {}

    def of(flow: str) -> None:
        story[flow] = counted.taken()

    spec = specified(endpoint_type, name)
    deployment.plan_deployment(spec, connection)
    of("dry run, nothing there")
    deploy(spec, connection)
    of("create")
    deploy(spec, connection)
    of("the same again")
    limit = {"limits__max_input_tokens": "1024"}
    deploy(specified(endpoint_type, name, **limit), connection)
    of("another model")
    limit["instance__type"] = "ml.g5.12xlarge"
    deploy(specified(endpoint_type, name, **limit), connection)
    of("another machine")
    limit["autoscaling__target"] = "7"
    deploy(specified(endpoint_type, name, **limit), connection)
    of("another target of the scaling")
    list(deployments(connection.session))
    list(leftovers(connection.session, [name]))
    of("list")
    deployment_status(connection.session, name)
    of("status")
    delete(name, connection)
    of("delete")
    delete(name, connection)
    of("delete, nothing there")
    pin(endpoint_type, story)


@pytest.fixture
def roles(connection: Connection, tmp_path: Path) -> Iterator[Roles]:
    """Roles with a user, gone afterwards."""
    wish = wish_for(connection, prefix="counted", spec=None, model_bucket=None, user=True)
    roles = Roles(connection, wish, tmp_path)
    yield roles
    list(roles.delete(roles.plan_deletion(), timeout_s=60))


@pytest.mark.row("T1")
def test_calls_of_roles(counted: Counter, roles: Roles) -> None:
    """Create, nothing to do, delete, in an account that has the role that autoscaling makes for itself."""
    story: dict[str, list[str]] = {}
    list(roles.apply(roles.plan(), timeout_s=60))
    list(roles.delete(roles.plan_deletion(), timeout_s=60))
    counted.taken()
    list(roles.apply(roles.plan(), timeout_s=60))
    story["create-roles"] = counted.taken()
    list(roles.apply(roles.plan(), timeout_s=60))
    story["create-roles, the same again"] = counted.taken()
    list(roles.delete(roles.plan_deletion(), timeout_s=60))
    story["delete-roles"] = counted.taken()
    pin("roles", story)
