"""boto3: the library that this project itself, and most others, reach SageMaker with."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from llm_deploy.emulator.assembly import new_cloud
from llm_deploy.emulator.settings import CloudSettings
from tests.clients import hosting, operations
from tests.clients.boto import Boto
from tests.conftest import Terminal
from tests.functional.emulator.cloud import processes_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("client-boto3")]


@pytest.fixture
def boto(pointed_at_it: dict[str, str]) -> Iterator[Boto]:
    """Checked clients; what a test made is removed."""
    made = Boto(pointed_at_it)
    yield made
    hosting.remove(made)


def test_a_model_endpoint_lives(boto: Boto) -> None:
    """Waiters, real tokens, an update to another config, more instances, then nothing."""
    sagemaker = boto.sagemaker
    hosting.make_model(boto, "m1")
    hosting.make_endpoint(boto, "e", "m1")
    assert hosting.asked(boto, "e").startswith(" Paris")
    hosting.make_model(boto, "m2")
    hosting.make_config(boto, "c2", "m2")
    sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="c2")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="c2")
    hosting.in_service(boto, "e")
    assert sagemaker.describe_endpoint(EndpointName="e")["EndpointConfigName"] == "c2"
    more = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="e", DesiredWeightsAndCapacities=more)
    hosting.in_service(boto, "e")
    variant = sagemaker.describe_endpoint(EndpointName="e")["ProductionVariants"][0]
    assert variant["CurrentInstanceCount"] == 2
    assert hosting.asked(boto, "e").startswith(" Paris")


def test_an_inference_component_lives(boto: Boto) -> None:
    """Copies to two, to none, back to one, then another model; each step answers or refuses as AWS does."""
    sagemaker = boto.sagemaker
    hosting.make_model(boto, "m1")
    hosting.make_endpoint(boto, "e", None, InstanceType="ml.g5.12xlarge")
    hosting.make_component(boto, "c", "e", "m1")
    assert hosting.asked(boto, "e", "c").startswith(" Paris")
    for copies in (2, 0, 1):
        sagemaker.update_inference_component_runtime_config(
            InferenceComponentName="c", DesiredRuntimeConfig={"CopyCount": copies}
        )
        counts = hosting.component_rests(boto, "c")["RuntimeConfig"]
        assert counts == {"DesiredCopyCount": copies, "CurrentCopyCount": copies}
        if copies:
            assert hosting.asked(boto, "e", "c").startswith(" Paris")
        else:
            with pytest.raises(boto.sagemaker_runtime.exceptions.ValidationError, match="has no capacity"):
                hosting.asked(boto, "e", "c")
    hosting.make_model(boto, "m2")
    sagemaker.update_inference_component(InferenceComponentName="c", Specification=hosting.specification("m2"))
    assert hosting.component_rests(boto, "c")["Specification"]["ModelName"] == "m2"
    assert hosting.asked(boto, "e", "c").startswith(" Paris")


def test_lists_are_paged_filtered_and_sorted(boto: Boto) -> None:
    """Paginators see each object once; filters by name, status and time hold; order is as asked."""
    names = [f"list-{number:02}" for number in range(23)]
    for name in names:
        hosting.make_model(boto, name)
    hosting.make_model(boto, "other")
    order = {"SortBy": "Name", "SortOrder": "Ascending", "PaginationConfig": {"PageSize": 5}}
    pages = list(boto.sagemaker.get_paginator("list_models").paginate(NameContains="list-", **order))
    assert [len(page["Models"]) for page in pages] == [5, 5, 5, 5, 3]
    assert [each["ModelName"] for page in pages for each in page["Models"]] == names
    newest = boto.sagemaker.list_models(MaxResults=1, SortBy="CreationTime", SortOrder="Descending")["Models"][0]
    assert newest["ModelName"] == "other"
    earlier = boto.sagemaker.list_models(CreationTimeBefore=newest["CreationTime"], MaxResults=100)["Models"]
    assert {each["ModelName"] for each in earlier} == set(names)
    hosting.make_endpoint(boto, "e", "other")
    assert len(boto.sagemaker.list_endpoints(StatusEquals="InService")["Endpoints"]) == 1
    assert boto.sagemaker.list_endpoints(StatusEquals="Failed")["Endpoints"] == []


def test_tags_change_without_the_object(boto: Boto) -> None:
    """Tags given at creation are listed, changed and removed by ARN."""
    arn = hosting.make_model(boto, "m")
    boto.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "others"}, {"Key": "k", "Value": ""}])
    boto.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["k"])
    assert boto.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "others"}]


def test_frames_of_a_stream_are_whole(boto: Boto, local_cloud: Terminal, twin: str) -> None:
    """Raw frames carry right checksums; decoded by botocore they are the events of the model, and come piecemeal."""
    del local_cloud
    long = hosting.request("twin", twin, stream=True, parameters={"max_new_tokens": 40, "seed": 7})
    raw = boto.sagemaker_runtime.invoke_endpoint_with_response_stream(**long)["Body"]._raw_stream.read()
    parts = [payload for headers, payload in frames(raw) if b"PayloadPart" in headers]
    decoded = boto.sagemaker_runtime.invoke_endpoint_with_response_stream(**long)["Body"]
    again = [event["PayloadPart"]["Bytes"] for event in decoded]
    assert len(parts) > 10
    assert generated(b"".join(parts)) == generated(b"".join(again))
    assert generated(b"".join(again)).startswith(" Paris")


def frames(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Headers and payload of each frame. Source: Amazon event stream encoding (Transcribe's developer guide)."""
    while raw:
        total, header_length, prelude_crc = struct.unpack(">III", raw[:12])
        assert zlib.crc32(raw[:8]) == prelude_crc
        assert zlib.crc32(raw[: total - 4]) == struct.unpack(">I", raw[total - 4 : total])[0]
        yield raw[12 : 12 + header_length], raw[12 + header_length : total - 4]
        raw = raw[total:]


def generated(events: bytes) -> str:
    """The text of TGI's server-sent events."""
    lines = [line.removeprefix(b"data:") for line in events.split(b"\n") if line.startswith(b"data:")]
    return "".join(json.loads(line)["token"]["text"] for line in lines)


def test_a_stream_that_breaks_is_an_error(boto: Boto, local_cloud: Terminal, twin: str) -> None:
    """A model server killed in the middle: what had come is there, then ModelStreamError, and the copy is restarted."""
    (server,) = processes_of(local_cloud.folder / "home")
    counting = {"inputs": "1, 2, 3,", "parameters": {"max_new_tokens": 1500}}  # greedy, so it does not end by itself
    long = hosting.request("twin", twin, stream=True, **counting)
    body = boto.sagemaker_runtime.invoke_endpoint_with_response_stream(**long)["Body"]
    parts = iter(body)
    first = next(parts)
    os.kill(server, signal.SIGKILL)
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        list(parts)
    assert first["PayloadPart"]["Bytes"]
    assert answered_again(boto, twin).startswith(" Paris")


def answered_again(boto: Boto, component: str) -> str:
    """The next answer; until the copy is back, questions meet a connection that is refused."""
    end = time.monotonic() + hosting.PATIENCE_S
    while True:
        try:
            return hosting.asked(boto, "twin", component)
        except boto.sagemaker_runtime.exceptions.ModelError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_refusals_are_the_modelled_exceptions(boto: Boto, twin: str) -> None:
    """Each service's errors arrive as the class that its model names, with every member."""
    runtime = boto.sagemaker_runtime
    with pytest.raises(runtime.exceptions.ModelError) as model_error:
        runtime.invoke_endpoint(**hosting.request("twin", twin) | {"Body": "{}"})
    members = model_error.value.response
    assert members["OriginalStatusCode"] == 422
    assert members["OriginalMessage"]
    assert ":log-group:/aws/sagemaker/" in members["LogStreamArn"]
    with pytest.raises(runtime.exceptions.ValidationError, match=r"^.*Endpoint none of account 000000000000 not found"):
        hosting.asked(boto, "none")
    assert_code(boto.sagemaker.describe_model, "ValidationException", "Could not find model", ModelName="none")
    with pytest.raises(boto.logs.exceptions.ResourceNotFoundException):
        boto.logs.get_log_events(logGroupName="none", logStreamName="none")
    with pytest.raises(boto.service_quotas.exceptions.NoSuchResourceException):
        boto.service_quotas.get_service_quota(ServiceCode="sagemaker", QuotaCode="L-00000000")
    with pytest.raises(boto.application_autoscaling.exceptions.ObjectNotFoundException):
        boto.application_autoscaling.deregister_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId="endpoint/none/variant/AllTraffic",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        )


def test_a_limit_of_the_account_is_its_own_exception(boto: Boto) -> None:
    """ResourceLimitExceeded comes at CreateEndpoint and names the quota, its value and what was asked."""
    hosting.make_model(boto, "m")
    hosting.make_config(boto, "c", "m", InitialInstanceCount=1000)
    with pytest.raises(boto.sagemaker.exceptions.ResourceLimitExceeded, match="request delta of 1000 Instances"):
        boto.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")


def assert_code(call: Any, code: str, text: str, **members: object) -> None:  # noqa: ANN401 - a client's method
    """The error has this code, for services whose model names none."""
    with pytest.raises(ClientError, match=text) as error:
        call(**members)
    assert error.value.response["Error"]["Code"] == code


def test_every_operation_is_parsed_by_its_model(boto: Boto, tmp_path: Path) -> None:
    """Whatever the local cloud offers has been asked here, and each answer is whole and of the types of its model."""
    operations.hosting_tour(boto)
    operations.logs_tour(boto)
    operations.quotas_tour(boto)
    assert implemented(tmp_path) - boto.parsed == set()


def implemented(folder: Path) -> set[str]:
    """Every operation that some handler of the local cloud answers."""
    cloud = new_cloud(CloudSettings(state_dir=folder))
    cloud.store.close()
    services = cloud.registry.json.values()
    runtime = {"sagemaker-runtime:InvokeEndpoint", "sagemaker-runtime:InvokeEndpointWithResponseStream"}
    return runtime | {f"{service.model}:{name}" for service in services for name in service.operations}
