"""The AWS SDK for JavaScript v3: the one judge here with a signer, parser and event-stream decoder of its own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from tests.clients import environments
from tests.clients.conftest import Foreign, Runner
from tests.conftest import Terminal
from tests.functional.emulator.cloud import processes_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("client-javascript"),
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs node 20 or newer, and npm"),
]


@pytest.fixture
def node(foreign: Runner) -> Foreign:
    """Node with the SDK's packages."""
    program = foreign("node")
    return replace(program, environment={**program.environment, "NODE_PATH": str(environments.node_modules())})


def script(name: str) -> str:
    return str(environments.HERE / "javascript" / name)


@pytest.fixture
def hosted(node: Foreign, endpoint_type: str) -> dict[str, Any]:
    """What the SDK observed of a whole life, from CreateModel to the last Delete."""
    seen: dict[str, Any] = node.report(script("hosting.cjs"), endpoint_type)
    return seen


def test_it_carries_a_whole_life(hosted: dict[str, Any], endpoint_type: str) -> None:
    """Waiters, dates, tags, tokens, streams, autoscaling, updates, pages and deletion are as its types say."""
    assert hosted["waiter"] == "SUCCESS"
    assert hosted["endpoint"] == {"status": "InService", "made": True}
    assert {"Key": "team", "Value": "judges é"} in hosted["tags"]
    assert hosted["answer"]["text"].startswith(" Paris")
    assert hosted["answer"]["variant"] == "AllTraffic"
    assert hosted["answer"]["contentType"].startswith("application/json")
    assert_incremental(hosted["stream"])
    assert_scaling(hosted["scaling"], endpoint_type)
    assert hosted["removed"]["waiter"] == "SUCCESS"
    if endpoint_type == "model":
        assert hosted["update"]["config"] == "js-2"
        assert hosted["update"]["text"].startswith(" Paris")
        assert hosted["listed"] == {"names": ["js-1", "js-2"], "count": 2}
    else:
        assert hosted["component"] == "InService"
        assert hosted["update"]["copies"] == 0
        assert hosted["update"]["refused"]["name"] == "ValidationError"
        assert "has no capacity" in hosted["update"]["refused"]["message"]
        assert hosted["removed"]["absent"]["name"] == "ValidationException"
        assert 'Could not find inference component "' in hosted["removed"]["absent"]["message"]


def assert_incremental(stream: dict[str, Any]) -> None:
    """Parts arrive while the model generates, and their bytes together are whole lines of JSON."""
    assert stream["parts"] > 20
    assert stream["spread_ms"] > 50
    lines = [json.loads(line) for line in stream["bytes"].splitlines() if line]
    text = "".join(line["token"]["text"] for line in lines if "token" in line)
    assert text.startswith(" Paris")


def assert_scaling(scaling: dict[str, Any], endpoint_type: str) -> None:
    """A target-tracking policy brings its two alarms, under AWS's names."""
    what = "inference-component/js" if endpoint_type == "inference-component" else "endpoint/js/variant/AllTraffic"
    assert sorted(scaling["alarms"]) == [f"TargetTracking-{what}-AlarmHigh-", f"TargetTracking-{what}-AlarmLow-"]
    assert scaling["target"] == [{"max": 2, "made": True}]


def test_failures_have_their_types(node: Foreign, local_cloud: Terminal, twin: str) -> None:
    """Each refusal is the exception that the SDK's model has for it, with AWS's status and words."""
    (server,) = processes_of(local_cloud.folder / "home")
    seen = node.report(script("failures.cjs"), twin, str(server))
    assert (seen["absent"]["name"], seen["absent"]["status"]) == ("ValidationException", 400)
    assert seen["absent"]["message"].startswith('Could not find endpoint "arn:aws:sagemaker:')
    assert "Value 'bad_name!' at 'endpointName' failed to satisfy constraint" in seen["pattern"]["message"]
    assert "failed to satisfy constraint: Member must satisfy enum value set" in seen["enumeration"]["message"]
    assert seen["unimplemented"]["name"] == "LocalCloudNotImplemented"
    assert (seen["unknownEndpoint"]["type"], seen["unknownEndpoint"]["status"]) == ("ValidationError", 400)
    assert seen["unknownEndpoint"]["message"] == "Endpoint none of account 000000000000 not found."
    for refused in (seen["modelError"], seen["streamRefused"]):
        assert (refused["type"], refused["status"]) == ("ModelError", 424)
        assert refused["original"] == 422
        assert "Received client error (422) from primary with message" in refused["message"]
    assert seen["tooLarge"]["type"] == "ValidationError"
    assert seen["afterHangUp"][0]["generated_text"].startswith(" Paris")
    assert seen["brokenStream"]["typed"], seen["brokenStream"]
    assert seen["brokenStream"]["parts"] >= 3
    assert seen["brokenStream"]["code"] == "StreamBroken"
