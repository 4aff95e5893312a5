"""The Python of docs/how-to/call-a-model.md, word for word but for the ports, on a local cloud."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest

from llm_deploy.serving import models
from tests.conftest import ROOT, Terminal
from tests.functional.serving.servers import running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.row("T5"),
    pytest.mark.row("T10"),
    pytest.mark.row("L5"),
    pytest.mark.xdist_group("local-cloud"),
]

PAGE = ROOT / "docs" / "how-to" / "call-a-model.md"
QUEUED = "twin-queued"


def blocks() -> list[str]:
    """The page's Python, in order."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def twin(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> Iterator[str]:
    """`twin`, and `twin-queued` over the same model."""
    local_cloud.run("deploy-endpoint", str(ROOT / "configs" / "twin.yaml"), "--endpoint-type", "model", "--yes")
    options = {
        "region_name": pointed_at_it["AWS_REGION"],
        "endpoint_url": pointed_at_it["AWS_ENDPOINT_URL"],
        "aws_access_key_id": pointed_at_it["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": pointed_at_it["AWS_SECRET_ACCESS_KEY"],
    }
    hosting, storage = boto3.client("sagemaker", **options), boto3.client("s3", **options)
    bucket = f"sagemaker-{options['region_name']}-how-to"
    storage.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": options["region_name"]})
    live = hosting.describe_endpoint(EndpointName="twin")["EndpointConfigName"]
    places = {"S3OutputPath": f"s3://{bucket}/out", "S3FailurePath": f"s3://{bucket}/failed"}
    hosting.create_endpoint_config(
        EndpointConfigName=QUEUED,
        ProductionVariants=hosting.describe_endpoint_config(EndpointConfigName=live)["ProductionVariants"],
        AsyncInferenceConfig={"OutputConfig": places},
    )
    hosting.create_endpoint(EndpointName=QUEUED, EndpointConfigName=QUEUED)
    hosting.get_waiter("endpoint_in_service").wait(EndpointName=QUEUED, WaiterConfig={"Delay": 1})
    yield "twin"
    hosting.delete_endpoint(EndpointName=QUEUED)
    hosting.get_waiter("endpoint_deleted").wait(EndpointName=QUEUED, WaiterConfig={"Delay": 1})
    hosting.delete_endpoint_config(EndpointConfigName=QUEUED)
    local_cloud.run("delete-endpoint", "twin", "--yes")
    for kept in storage.list_objects_v2(Bucket=bucket).get("Contents", []):
        storage.delete_object(Bucket=bucket, Key=kept["Key"])
    storage.delete_bucket(Bucket=bucket)


def test_the_page_is_true(twin: str, local_cloud: Terminal, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every block runs after the ones before it, with the target alone in the environment."""
    folder = tmp_path_factory.mktemp("servers")
    (folder / "chat").mkdir()
    (folder / "vectors").mkdir()
    with (
        running(models.pull("smollm2"), folder / "chat") as chat,
        running(models.pull("minilm"), folder / "vectors") as vectors,
    ):
        script = "\n".join(blocks()).replace("http://127.0.0.1:8080", chat.url)
        script = script.replace("http://127.0.0.1:8081", vectors.url)
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=local_cloud.folder,
            env=local_cloud.env(),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert twin in script
    for said in ("Paris", "done: 3", "no tools", "2 384", "0.3 s allowed", "{'city'"):
        assert said in done.stdout, f"{said!r} is not in\n{done.stdout}"
