"""The main job as a person does it: commands, the local cloud, a real model; then boto3 asks the cloud itself."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT, Terminal

TWIN = str(ROOT / "configs" / "twin.yaml")
SMOLLM2 = str(ROOT / "configs" / "smollm2.yaml")
TYPES = ["inference-component", "model"]

pytestmark = pytest.mark.xdist_group("local-cloud")


def everything(variables: dict[str, str]) -> dict[str, list[Any]]:
    """All that bills or could: what boto3 sees in the cloud."""

    def client(service: str) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        return boto3.client(
            service,
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            region_name=variables["AWS_REGION"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        )

    sagemaker, autoscaling, cloudwatch = map(client, ("sagemaker", "application-autoscaling", "cloudwatch"))
    return {
        "models": sagemaker.list_models()["Models"],
        "configs": sagemaker.list_endpoint_configs()["EndpointConfigs"],
        "endpoints": sagemaker.list_endpoints()["Endpoints"],
        "components": sagemaker.list_inference_components()["InferenceComponents"],
        "targets": autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        "alarms": cloudwatch.describe_alarms()["MetricAlarms"],
    }


@pytest.mark.row("T3")
@pytest.mark.row("T4")
@pytest.mark.row("T5")
@pytest.mark.row("T9")
@pytest.mark.row("T10")
@pytest.mark.row("T12")
@pytest.mark.row("T13")
@pytest.mark.parametrize("endpoint_type", TYPES)
def test_from_a_spec_to_tokens_to_nothing_left(
    local_cloud: Terminal, pointed_at_it: dict[str, str], endpoint_type: str
) -> None:
    """Deploy, ask, look, deploy again, change, delete: each as documented, for both endpoint types."""
    deploy = ("deploy-endpoint", TWIN, "--endpoint-type", endpoint_type, "--yes")
    receipt = local_cloud.run(*deploy, "--json").json
    assert receipt["smoke"]["text"].startswith(" Paris")
    assert {item["action"] for item in receipt["done"]} == {"+"}

    again = local_cloud.run(*deploy, "--json")
    assert again.json["done"] == []
    assert "nothing was changed" in again.err

    answer = local_cloud.run("invoke", "twin", "The capital of France is", "--stream", "--max-new-tokens", "12")
    assert "Paris" in answer.out

    state = local_cloud.run("status", "twin", "--json").json
    assert state["status"] == "InService"
    assert state["endpoint_type"] == endpoint_type
    assert state["usd_per_hour"] > 0
    assert "smollm2" in json.dumps(state["notes"])
    assert [item["name"] for item in local_cloud.run("list", "--json").json] == ["twin"]
    assert "route=/invocations" in local_cloud.run("logs", "twin").out

    changed = local_cloud.run(*deploy, "--set", "limits.max_input_tokens=1024", "--json")
    assert {item["action"] for item in changed.json["done"]} == {"+", "~"}
    assert len(everything(pointed_at_it)["models"]) == 2, "the previous generation is kept"

    gone = local_cloud.run("delete-endpoint", "twin", "--yes", "--json").json
    assert gone["left"] == []
    assert gone["usd_per_hour"] == 0
    assert local_cloud.run("list", "--json").json == []
    assert not any(everything(pointed_at_it).values())


@pytest.mark.row("T3")
def test_a_dry_run_changes_nothing(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """The plan names every object and what it is for; the cloud is as before."""
    result = local_cloud.run("deploy-endpoint", TWIN, "--dry-run", "--json")
    kinds = [change["kind"].rsplit("::")[-1] for change in result.json["changes"]]
    assert kinds[:4] == ["Model", "EndpointConfig", "Endpoint", "InferenceComponent"]
    assert all(change["action"] == "create" and change["purpose"] for change in result.json["changes"])
    assert not any(everything(pointed_at_it).values())


@pytest.mark.row("T1")
def test_roles_are_made_written_and_removed(local_cloud: Terminal) -> None:
    """Files hold the role and the key, readable by their owner alone; .env is brought up to date; removal is whole."""
    folder = local_cloud.folder / "roles"
    folder.mkdir()
    terminal = Terminal(folder, local_cloud.environment)
    (folder / ".env").write_text("# mine\nMAX_NEW_TOKENS_INFERENCE=20\n")
    first = terminal.run("create-roles", "--prefix", "twin", "--user", "--yes", "--write-env")
    key = json.loads((folder / "sagemaker_user_credentials.json").read_text())
    role = json.loads((folder / "sagemaker_execution_role.json").read_text())
    assert role["RoleArn"].endswith(":role/llmdeploy-twin-execution")
    assert key["SecretAccessKey"] not in first.out + first.err
    env = (folder / ".env").read_text()
    assert "# mine" in env
    assert f"AWS_ARN_ROLE={role['RoleArn']}" in env
    assert f"AWS_SECRET_KEY={key['SecretAccessKey']}" in env
    for name in ("sagemaker_user_credentials.json", "sagemaker_execution_role.json", ".env"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name

    again = terminal.run("create-roles", "--prefix", "twin", "--user", "--yes")
    assert "Nothing to change" in again.err
    assert json.loads((folder / "sagemaker_user_credentials.json").read_text()) == key

    elsewhere = local_cloud.folder / "elsewhere"
    elsewhere.mkdir()
    lost = Terminal(elsewhere, local_cloud.environment).run(
        "create-roles", "--prefix", "twin", "--user", "--yes", code=7
    )
    assert "--new-key" in lost.err

    terminal.run("delete-roles", "--prefix", "twin", "--yes")
    assert sorted(path.name for path in folder.iterdir()) == [".env"]
    assert (folder / ".env").read_text().splitlines() == [
        "# mine",
        "MAX_NEW_TOKENS_INFERENCE=20",
        "AWS_REGION=eu-central-1",
    ]
    assert terminal.run("delete-roles", "--prefix", "twin", "--yes", "--json").json["deleted"] == []


@pytest.mark.row("T3")
@pytest.mark.row("T5")
@pytest.mark.parametrize("endpoint_type", ["MODEL_BASED", "INFERENCE_COMPONENT_BASED"])
def test_the_seeds_python_works(local_cloud: Terminal, endpoint_type: str) -> None:
    """create_endpoint, the executor and the endpoint class, under the seed's names, from a plain script."""
    program = f"""
from llm_deploy import EndpointType, InferenceExecutor, LLMInferenceSagemakerEndpoint, create_endpoint
create_endpoint(endpoint_type=EndpointType.{endpoint_type})
llm = LLMInferenceSagemakerEndpoint(endpoint_name="twin")
print(InferenceExecutor(llm, query="The capital of France is", prompt="{{query}}").execute())
"""
    lines = local_cloud.run("local", "env", "--shell", "sh").out.splitlines()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    environment = local_cloud.env(**{name: value.strip("'\"") for name, value in exported.items()})
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=local_cloud.folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    local_cloud.run("delete-endpoint", "twin", "--yes")


@pytest.mark.row("T3")
def test_the_strategy_takes_the_seeds_arguments(local_cloud: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """SagemakerHuggingfaceStrategy(DeploymentService(ResourceManager())).deploy(...) with the seed's keywords."""
    from llm_deploy import ResourceRequirements  # noqa: PLC0415 - after the environment is set
    from llm_deploy.deploy.service import DeploymentService  # noqa: PLC0415 - as above
    from llm_deploy.targets.deployment import ResourceManager  # noqa: PLC0415 - as above
    from llm_deploy.targets.huggingface import SagemakerHuggingfaceStrategy  # noqa: PLC0415 - as above

    for name, value in local_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(local_cloud.folder)
    receipt = SagemakerHuggingfaceStrategy(DeploymentService(ResourceManager())).deploy(
        role_arn=None,
        llm_image=None,
        config={"HF_MODEL_ID": "mlabonne/TwinLlama-3.1-8B-DPO", "SM_NUM_GPUS": 1, "MAX_INPUT_LENGTH": 512},
        endpoint_name="seed",
        endpoint_config_name="seed",
        gpu_instance_type="ml.g5.2xlarge",
        resources=ResourceRequirements(copies=1, num_accelerators=1, num_cpus=2, memory=1024),
        endpoint_type="InferenceComponentBased",
    )
    assert receipt.smoke is not None
    assert receipt.smoke.text.startswith(" Paris")
    local_cloud.run("delete-endpoint", "seed", "--yes")


def test_what_is_not_ours_is_left_alone(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """An endpoint that another tool made is neither taken over nor deleted; the exit code says conflict."""
    environment = {**os.environ, **pointed_at_it}
    program = (
        "import boto3, os; sm = boto3.client('sagemaker'); role = os.environ['AWS_ARN_ROLE'];"
        "image = '763104351884.dkr.ecr.eu-central-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128';"
        "sm.create_model(ModelName='m', ExecutionRoleArn=role,"
        " PrimaryContainer={'Image': image, 'Environment': {'HF_MODEL_ID': 'x/y'}});"
        "sm.create_endpoint_config(EndpointConfigName='c', ProductionVariants=[{'VariantName': 'v',"
        " 'ModelName': 'm', 'InstanceType': 'ml.g5.xlarge', 'InitialInstanceCount': 1}]);"
        "sm.create_endpoint(EndpointName='twin', EndpointConfigName='c');"
        "sm.get_waiter('endpoint_in_service').wait(EndpointName='twin', WaiterConfig={'Delay': 1})"
    )
    remove = (
        "import boto3; sm = boto3.client('sagemaker'); sm.delete_endpoint(EndpointName='twin');"
        "sm.get_waiter('endpoint_deleted').wait(EndpointName='twin', WaiterConfig={'Delay': 1});"
        "sm.delete_endpoint_config(EndpointConfigName='c'); sm.delete_model(ModelName='m')"
    )
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
    try:
        assert "not ours" in local_cloud.run("deploy-endpoint", TWIN, "--yes", code=7).err
        assert "not ours" in local_cloud.run("delete-endpoint", "twin", "--yes", code=7).err
        assert local_cloud.run("list", "--json").json == []
    finally:
        subprocess.run([sys.executable, "-c", remove], env=environment, check=True, timeout=120)


def test_deleting_what_is_not_there_succeeds(local_cloud: Terminal) -> None:
    """Deletion is safe to repeat: exit code 0, and it says that there was nothing."""
    result = local_cloud.run("delete-endpoint", "never-was", "--yes", "--json")
    assert result.json["done"] == []
    assert "nothing left" in result.err


def test_the_spec_of_the_tour_deploys(local_cloud: Terminal) -> None:
    """configs/smollm2.yaml works as it stands, and a file names what to delete as well as a name does."""
    local_cloud.run("deploy-endpoint", SMOLLM2, "--yes")
    local_cloud.run("delete-endpoint", SMOLLM2, "--yes")
    assert local_cloud.run("list", "--json").json == []


@pytest.mark.row("T13")
def test_a_failed_deployment_shows_the_containers_words_and_the_next_run_repairs_it(local_cloud: Terminal) -> None:
    """A container that does not start: exit code 9, its last lines; deploying again replaces what failed."""
    broken = ("--set", "environment.MAX_CONCURRENT_REQUESTS=many")
    failed = local_cloud.run("deploy-endpoint", TWIN, "--yes", *broken, code=9)
    assert "did not pass the ping health check" in failed.err
    assert "the containers' last lines" in failed.err
    waiting, _, _ = failed.err.partition("error:")
    shown = re.search(r"\| (ERROR SpecError|local cloud: the container ended with exit code)", waiting)
    assert shown, "the log is shown while it still waits, whichever line of a crash was its last then"
    assert "MAX_CONCURRENT_REQUESTS" in failed.err
    assert "Failed" in local_cloud.run("status", "twin").out
    repaired = local_cloud.run("deploy-endpoint", TWIN, "--yes", "--json").json
    assert "±" in {item["action"] for item in repaired["done"]}
    assert repaired["smoke"]["text"].startswith(" Paris")
    local_cloud.run("delete-endpoint", "twin", "--yes")


@pytest.mark.row("T9")
def test_the_machine_of_an_autoscaled_variant_can_be_changed(local_cloud: Terminal) -> None:
    """AWS refuses that while the variant may scale, and so does the local cloud: deregister, update, register."""
    deploy = ("deploy-endpoint", TWIN, "--endpoint-type", "model", "--yes", "--json")
    local_cloud.run(*deploy)
    done = local_cloud.run(*deploy, "--set", "instance.type=ml.g5.4xlarge").json["done"]
    kinds = [(item["action"], item["kind"]) for item in done]
    assert kinds.index(("-", "ScalableTarget")) < kinds.index(("~", "Endpoint")) < kinds.index(("±", "ScalableTarget"))
    assert local_cloud.run("status", "twin", "--json").json["instances"][0]["type"] == "ml.g5.4xlarge"
    local_cloud.run("delete-endpoint", "twin", "--yes")
