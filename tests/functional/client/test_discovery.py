"""What callers need not say: the component and the dialect, asked of SageMaker through real boto3."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from llm_deploy import GenerationRequest, LLMInferenceSagemakerEndpoint
from llm_deploy.client.discovery import Found, discover
from llm_deploy.errors import CredentialsError, InferenceRequestError, NotFoundError, ThrottledError
from llm_deploy.resource import TAG_DIALECT, TAG_SAMPLING
from tests.fakes.runtime_server import Reply, RuntimeServer, control_error, invocation, serving
from tests.functional.client.test_sagemaker import session

ENDPOINT = invocation({"EndpointArn": "arn:aws:sagemaker:eu-central-1:000000000000:endpoint/twin"})
DENIED = control_error("AccessDeniedException", "not authorized to perform: sagemaker:DescribeEndpoint")


def tags(dialect: str | None) -> Reply:
    return invocation({"Tags": [{"Key": TAG_DIALECT, "Value": dialect}] if dialect else []})


def components(*names: str) -> Reply:
    return invocation({"InferenceComponents": [{"InferenceComponentName": name} for name in names]})


def found(replies: Sequence[Reply], component: str | None = None, dialect: str = "auto") -> tuple[Found, RuntimeServer]:
    with serving(*replies) as server:
        return discover(session(server.url), "twin", component=component, dialect=dialect), server


def test_nothing_is_asked_when_all_is_given() -> None:
    """No control-plane permission is needed then."""
    answer, server = found([DENIED], "ic", "lmi")
    assert answer == Found("ic", "lmi")
    assert server.seen == []


def test_the_tag_says_the_dialect_and_the_list_the_component() -> None:
    """As a deployment of ours leaves them."""
    answer, server = found([ENDPOINT, tags("lmi"), components("twin-ic")])
    assert answer == Found("twin-ic", "lmi")
    operations = [seen.headers["x-amz-target"] for seen in server.seen]
    assert operations == ["SageMaker.DescribeEndpoint", "SageMaker.ListTags", "SageMaker.ListInferenceComponents"]
    assert json.loads(server.seen[2].body)["EndpointNameEquals"] == "twin"


@pytest.mark.parametrize(
    ("tag", "sampling"),
    [
        ("temperature=0.7 top_p=0.8 max_new_tokens=64", {"temperature": 0.7, "top_p": 0.8, "max_new_tokens": 64}),
        ("temperature=hot top_k=3 max_new_tokens= =5 seed", {}),
        ("temperature=inf top_p=1e9 max_new_tokens=-1", {}),
    ],
)
def test_the_deployments_sampling_is_read_and_nonsense_in_a_tag_is_not(tag: str, sampling: dict[str, float]) -> None:
    """Anybody with the permission can set a tag; only our parameters with plain numbers count."""
    reply = invocation({"Tags": [{"Key": TAG_SAMPLING, "Value": tag}]})
    assert found([ENDPOINT, reply, components()])[0].sampling == sampling


def test_an_endpoint_without_components_and_tags_is_called_as_it_is() -> None:
    """A model-based endpoint that somebody else made."""
    assert found([ENDPOINT, tags(None), components()])[0] == Found(None, "auto")


def test_a_caller_that_may_only_invoke_tries() -> None:
    """Denied look-ups are no error."""
    assert found([DENIED])[0] == Found(None, "auto")


def test_a_caller_without_a_route_to_the_control_plane_tries() -> None:
    """A private subnet may reach the runtime alone."""
    with serving(ENDPOINT) as server:
        gone = server.url
    assert discover(session(gone), "twin", component=None, dialect="auto") == Found(None, "auto")


def test_a_throttled_look_up_is_an_error() -> None:
    """What is not known yet must not be remembered as absent."""
    with pytest.raises(ThrottledError):
        found([control_error("ThrottlingException", "Rate exceeded")])


def test_a_tag_that_no_dialect_has_is_not_believed() -> None:
    """Written by another version, or by hand."""
    assert found([ENDPOINT, tags("telepathy"), components()])[0].dialect == "auto"


def test_several_components_must_be_told_apart_by_the_caller() -> None:
    """The message names them."""
    with pytest.raises(InferenceRequestError, match="blue, green") as raised:
        found([ENDPOINT, tags(None), components("green", "blue")], dialect="tgi")
    assert "inference_component_name" in (raised.value.hint or "")


def test_an_endpoint_that_is_not_there_is_said_so() -> None:
    """Before anything is invoked."""
    missing = control_error("ValidationException", 'Could not find endpoint "arn:aws:...:endpoint/twin".')
    with pytest.raises(NotFoundError, match="twin"):
        found([missing])


def test_bad_credentials_are_said_so() -> None:
    """And are not taken for a missing permission."""
    with pytest.raises(CredentialsError):
        found([control_error("UnrecognizedClientException", "The security token is invalid")])


def test_what_was_found_is_kept() -> None:
    """One look-up an endpoint object."""
    answer = invocation([{"generated_text": "x"}])
    with serving(ENDPOINT, tags("tgi"), components("twin-ic"), answer) as server:
        llm = LLMInferenceSagemakerEndpoint("twin", {}, session=session(server.url))
        for _ in range(3):
            llm.generate(GenerationRequest(prompt="Hi"))
        assert len(server.seen) == 6
        assert server.seen[-1].headers["x-amzn-sagemaker-inference-component"] == "twin-ic"
