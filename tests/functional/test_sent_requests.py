"""What our deployer sends, request by request, pinned as golden files and compared with what the SageMaker SDK sends.

`UPDATE_GOLDEN=1` rewrites the golden files of our requests; a change of one is a change of what AWS is told, and is
reviewed as such. Those of the SDK are recorded by `tests/clients/test_sagemaker_v2.py`.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from llm_deploy.catalog import load_spec
from llm_deploy.resource import TAG_BY
from llm_deploy.settings import load_settings
from llm_deploy.spec import DeploymentSpec
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from tests.clients.programs.recorder import record
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
TWIN = ROOT / "configs" / "twin.yaml"
SERVICES = ("sagemaker", "application-autoscaling", "cloudwatch", "iam", "logs", "s3", "sts")
TYPES = ["inference-component", "model"]
Sent = list[dict[str, Any]]

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture
def sent(connection: Connection) -> Sent:
    """Every request of this connection that changes something, from now on."""
    requests: Sent = []
    for service in SERVICES:
        record(connection.session.client(service).meta.events, requests)
    return requests


def deploy(spec: DeploymentSpec, connection: Connection) -> None:
    """As `llmdeploy deploy-endpoint`, without the question at its end."""
    for _ in deployment.apply_deployment(deployment.plan_deployment(spec, connection), connection):
        pass


def delete(name: str, connection: Connection) -> None:
    """As `llmdeploy delete-endpoint`."""
    for _ in deployment.service_for(connection).delete(deployment.plan_removal(name, connection)):
        pass


def specified(endpoint_type: str, **overrides: str) -> DeploymentSpec:
    """configs/twin.yaml with `--endpoint-type` and `--set`."""
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_spec(TWIN, settings=load_settings(), endpoint_type=endpoint_type, overrides=dotted).spec


def taken(sent: Sent) -> Sent:
    """What has been sent since the last look, with a stable account, caller and time."""
    text = json.dumps(sent).replace("000000000000", "123456789012")
    text = re.sub(rf'("Key": "{TAG_BY}", "Value": )"[^"]+ \d{{4}}-[^"]+Z"', r'\1"WHO AND WHEN"', text)
    sent.clear()
    found: Sent = json.loads(text)
    return found


@pytest.mark.row("T3")
@pytest.mark.row("T9")
@pytest.mark.row("T12")
@pytest.mark.parametrize("endpoint_type", TYPES)
def test_every_request_is_pinned(connection: Connection, sent: Sent, endpoint_type: str) -> None:
    """Deploy, deploy again, change the model, change the scaling, delete: these requests, in this order, no other."""
    story: dict[str, Sent] = {}
    deploy(specified(endpoint_type), connection)
    story["deploy"] = taken(sent)
    deploy(specified(endpoint_type), connection)
    story["deploy again"] = taken(sent)
    deploy(specified(endpoint_type, limits__max_input_tokens="1024"), connection)
    story["another limit of the model"] = taken(sent)
    deploy(specified(endpoint_type, limits__max_input_tokens="1024", autoscaling__target="7"), connection)
    story["another target of the scaling"] = taken(sent)
    delete("twin", connection)
    story["delete"] = taken(sent)

    pinned = GOLDEN / f"requests_{endpoint_type}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        pinned.write_text(json.dumps(story, indent=2) + "\n", "utf-8")
    assert story == json.loads(pinned.read_text("utf-8"))
    assert story["deploy again"] == []


@pytest.mark.row("T3")
@pytest.mark.parametrize("endpoint_type", TYPES)
def test_we_send_what_the_sdk_sends(connection: Connection, sent: Sent, endpoint_type: str) -> None:
    """For one intention, our requests and those of `HuggingFaceModel.deploy` differ where the functions below say."""
    spec = DeploymentSpec.model_validate(
        {
            "name": "sdk",
            "model": "mlabonne/TwinLlama-3.1-8B-DPO",
            "endpoint_type": endpoint_type,
            "instance": "ml.g5.2xlarge",
            "resources": {"num_accelerators": 1, "num_cpus": 2, "memory_mib": 1024, "max_memory_mib": 2048},
            "timeouts": {"container_startup_s": 900, "model_download_s": 1200},
            "tags": {"team": "judges"},
        }
    )
    deploy(spec, connection)
    ours = {each["operation"]: each["request"] for each in sent}
    delete("sdk", connection)
    pinned = json.loads((GOLDEN / f"requests_sdk_v2_{endpoint_type}.json").read_text("utf-8"))
    theirs = {each["operation"]: each["request"] for each in pinned["sent"]}
    assert list(ours)[:3] == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"], "what is wrong fails unbilled"
    assert {name: without_our_choices(request) for name, request in ours.items() if name in theirs} == {
        name: without_their_choices(request) for name, request in theirs.items()
    }


def without_our_choices(request: dict[str, Any]) -> dict[str, Any]:
    """Our request without what we do on purpose beyond the SDK."""
    ours = json.loads(json.dumps(request))
    # Models and configs are named by their content, so that a change is another object.
    for name in ("ModelName", "EndpointConfigName"):
        for place in (ours, *ours.get("ProductionVariants", ()), ours.get("Specification", {})):
            if name in place:
                place[name] = place[name].rpartition("-")[0]
    # Everything carries the tags by which it is found again.
    ours["Tags"] = [tag for tag in ours["Tags"] if not tag["Key"].startswith("llmdeploy:")]
    # Requests go where least is going on; SageMaker's default is random.
    for variant in ours.get("ProductionVariants", ()):
        assert variant.pop("RoutingConfig") == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    return dict(ours)


def without_their_choices(request: dict[str, Any]) -> dict[str, Any]:
    """The SDK's request without what it adds for its own use."""
    theirs = json.loads(json.dumps(request))
    # Variables of the SDK's script mode, which TGI does not read.
    for name in (
        "SAGEMAKER_PROGRAM",
        "SAGEMAKER_SUBMIT_DIRECTORY",
        "SAGEMAKER_CONTAINER_LOG_LEVEL",
        "SAGEMAKER_REGION",
    ):
        theirs.get("PrimaryContainer", {}).get("Environment", {}).pop(name, None)
    # The API's default, written out.
    assert theirs.pop("EnableNetworkIsolation", False) is False
    # Start-up times on a variant that starts no container; the component has its own.
    for variant in theirs.get("ProductionVariants", ()):
        if "ModelName" not in variant:
            del variant["ModelDataDownloadTimeoutInSeconds"], variant["ContainerStartupHealthCheckTimeoutInSeconds"]
    return dict(theirs)
