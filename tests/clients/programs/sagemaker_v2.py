"""`HuggingFaceModel.deploy` of the SageMaker SDK, version 2, as its users call it.

Usage: sagemaker_v2.py model|inference-component. The last line is what was observed, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import boto3
import sagemaker
from recorder import record  # type: ignore[import-not-found] # beside this program, when it is run
from sagemaker.compute_resource_requirements.resource_requirements import ResourceRequirements
from sagemaker.enums import EndpointType
from sagemaker.huggingface import HuggingFaceModel
from sagemaker.iterators import LineIterator

from llm_deploy import spec

BUCKET = "sagemaker-judges"
IMAGE = (
    "763104351884.dkr.ecr.eu-central-1.amazonaws.com/"
    "huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu-py311-cu124-ubuntu22.04"
)
QUESTION = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 8, "temperature": 0.01}}


def main(endpoint_type: str) -> dict[str, Any]:
    """Deploy, ask, stream, delete; what was seen."""
    sent: list[dict[str, Any]] = []
    boto_session = boto3.Session()
    record(boto_session.events, sent)
    boto_session.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": boto_session.region_name}
    )
    # A default bucket that is named keeps the SDK from asking STS, whose address it does not let anybody choose.
    session = sagemaker.Session(boto_session=boto_session, default_bucket=BUCKET)
    del sent[:]
    resources = ResourceRequirements(
        requests={"num_accelerators": 1, "memory": 1024, "num_cpus": 2, "copies": 1}, limits={"memory": 2048}
    )
    kind = EndpointType.MODEL_BASED if endpoint_type == "model" else EndpointType.INFERENCE_COMPONENT_BASED
    model = HuggingFaceModel(
        image_uri=IMAGE,
        role=os.environ["AWS_ARN_ROLE"],
        name="sdk",
        env={"HF_MODEL_ID": "mlabonne/TwinLlama-3.1-8B-DPO", "SM_NUM_GPUS": "1"},
        sagemaker_session=session,
    )
    component: dict[str, Any] = {"resources": resources, "inference_component_name": "sdk"}
    predictor = model.deploy(
        initial_instance_count=1,
        instance_type="ml.g5.2xlarge",
        endpoint_name="sdk",
        container_startup_health_check_timeout=900,
        model_data_download_timeout=1200,
        tags=[{"Key": "team", "Value": "judges"}],
        endpoint_type=kind,
        **(component if endpoint_type != "model" else {}),
    )
    seen: dict[str, Any] = {
        "sent": list(sent),
        "answer": predictor.predict(QUESTION),
        "stream": streamed(predictor),
        "requirements": spec.Resources.from_any(resources).model_dump(),
        "endpoint_type": spec.EndpointType.from_any(kind).name,
    }
    remove(predictor, session)
    return seen


def streamed(predictor: Any) -> str:  # noqa: ANN401 - the SDK ships no types
    """The text of a streamed answer, through the SDK's own line iterator."""
    lines = predictor.predict_stream({**QUESTION, "stream": True}, iterator=LineIterator)
    events = [json.loads(line.removeprefix(b"data:")) for line in lines if line.startswith(b"data:")]
    return "".join(event["token"]["text"] for event in events)


def remove(predictor: Any, session: Any) -> None:  # noqa: ANN401 - as above
    """Everything that `deploy` made, by the SDK's own means, and the bucket."""
    if predictor.component_name:
        predictor.delete_predictor(wait=True)
    config = session.sagemaker_client.describe_endpoint(EndpointName="sdk")["EndpointConfigName"]
    session.delete_endpoint("sdk")
    session.sagemaker_client.get_waiter("endpoint_deleted").wait(EndpointName="sdk", WaiterConfig={"Delay": 1})
    session.delete_endpoint_config(config)
    session.delete_model("sdk")
    bucket = session.boto_session.resource("s3").Bucket(BUCKET)
    bucket.objects.all().delete()
    bucket.delete()


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(sys.argv[1])) + "\n")
