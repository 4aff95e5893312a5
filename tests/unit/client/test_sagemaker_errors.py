"""The table of SageMaker runtime's errors, against botocore's own model of the service."""

from __future__ import annotations

import botocore.session
import pytest

from llm_deploy.client.sagemaker_errors import CAPACITY_HINT, COMPONENT_HINT, TABLE
from llm_deploy.errors import InferenceError, LlmDeployError, NotFoundError

OPERATIONS = ("InvokeEndpoint", "InvokeEndpointWithResponseStream")


def modelled_errors() -> set[str]:
    service = botocore.session.get_session().get_service_model("sagemaker-runtime")
    named = {shape.name for operation in OPERATIONS for shape in service.operation_model(operation).error_shapes}
    streamed = service.shape_for("ResponseStream").members.values()
    return named | {shape.name for shape in streamed if shape.metadata.get("exception")}


def test_every_modelled_error_has_its_line() -> None:
    """A new botocore that names another error fails here, not at a user's."""
    assert modelled_errors() - set(TABLE) == set()


def test_no_line_is_idle() -> None:
    """What the model does not name is in the table for a written reason."""
    unmodelled = {"ValidationException"}  # the control plane's spelling, which the runtime has been seen to use
    assert set(TABLE) - modelled_errors() == unmodelled


@pytest.mark.parametrize("code", sorted(TABLE))
def test_every_line_reads_an_error_without_members(code: str) -> None:
    """A code alone is enough for an error of ours that says what was tried."""
    error = TABLE[code]({"Code": code}, "call endpoint twin")
    assert isinstance(error, LlmDeployError)
    assert "call endpoint twin" in error.message


@pytest.mark.parametrize("code", ["ModelStreamError", "InternalStreamFailure"])
def test_stream_errors_can_carry_text(code: str) -> None:
    """They are inference errors, so that the text so far has a place."""
    assert isinstance(TABLE[code]({"Code": code}, "x"), InferenceError)


@pytest.mark.parametrize(
    "text",
    ['Could not find endpoint "arn:aws:sagemaker:eu-central-1:1:endpoint/x".', "Endpoint x of account 1 not found."],
)
def test_a_missing_endpoint_leads_to_the_list(text: str) -> None:
    """Not to a component's name, which would not help."""
    error = TABLE["ValidationException"]({"Message": text}, "call endpoint x")
    assert type(error) is NotFoundError
    assert error.hint == "`llmdeploy list` shows them."


def test_hints_serve_the_command_line_and_python() -> None:
    """Each names the option and the argument."""
    assert "--wait" in CAPACITY_HINT
    assert "wait_for_capacity_s" in CAPACITY_HINT
    assert "--component" in COMPONENT_HINT
    assert "inference_component_name" in COMPONENT_HINT
