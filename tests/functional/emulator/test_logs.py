"""What containers say is where AWS's tools look for it."""

from __future__ import annotations

from botocore.exceptions import ClientError

from tests.functional.emulator.cloud import RunningCloud


def lines(cloud: RunningCloud, group: str) -> list[tuple[str, str]]:
    """`(stream, line)` of a log group; nothing when it does not exist yet."""
    try:
        events = cloud.client("logs").filter_log_events(logGroupName=group)["events"]
    except ClientError:
        return []
    return [(each["logStreamName"], each["message"]) for each in events]


def test_a_crash_loop_is_in_the_endpoints_log_group_while_the_status_says_creating(shared_cloud: RunningCloud) -> None:
    """The cause, the exit code and the restart; the status alone tells nothing."""
    cloud, group = shared_cloud, "/aws/sagemaker/Endpoints/looping"
    cloud.make_model_endpoint("looping", FAKE_MODE="crash", HF_MODEL_ID="org/huge")
    cloud.eventually(lambda: [line for _, line in lines(cloud, group)].count("CUDA out of memory") >= 2)
    said = lines(cloud, group)
    assert cloud.sagemaker.describe_endpoint(EndpointName="looping")["EndpointStatus"] == "Creating"
    assert all(stream.startswith("AllTraffic/i-") for stream, _ in said)
    texts = [line for _, line in said]
    assert texts[0] == "local cloud: smollm2-135m-instruct stands in for org/huge"
    assert "local cloud: the container ended with exit code 1" in texts


def test_a_components_log_group_is_its_own(shared_cloud: RunningCloud) -> None:
    """Groups of inference components bear the component's name, not the endpoint's."""
    cloud = shared_cloud
    cloud.make_model("talker", HF_MODEL_ID="HuggingFaceTB/SmolLM2-135M-Instruct")
    cloud.make_component_endpoint("talkers")
    cloud.make_component("talker", "talkers", "talker")
    cloud.component_rests("talker")
    texts = [line for _, line in lines(cloud, "/aws/sagemaker/InferenceComponents/talker")]
    assert texts == ["fake model server: HuggingFaceTB/SmolLM2-135M-Instruct as tgi"]
    assert lines(cloud, "/aws/sagemaker/Endpoints/talkers") == []
    cloud.sagemaker.delete_inference_component(InferenceComponentName="talker")
    cloud.sagemaker.delete_endpoint(EndpointName="talkers")


def test_invocations_are_counted_where_dashboards_look(shared_cloud: RunningCloud) -> None:
    """AWS/SageMaker has the endpoint's metrics with AWS's names and dimensions."""
    cloud = shared_cloud
    cloud.make_model_endpoint("counted")
    cloud.endpoint_rests("counted")
    cloud.runtime.invoke_endpoint(EndpointName="counted", Body=b"{}")
    dimensions = [{"Name": "EndpointName", "Value": "counted"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    found = cloud.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker", Dimensions=dimensions)["Metrics"]
    assert {each["MetricName"] for each in found} >= {"Invocations", "ModelLatency", "Invocation4XXErrors"}
    cloud.sagemaker.delete_endpoint(EndpointName="counted")
