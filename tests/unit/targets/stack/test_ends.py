"""A complete stack is believed only as far as what serves bears it out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import DeployError
from llm_deploy.resource import ENDPOINT, INFERENCE_COMPONENT, Resource
from llm_deploy.targets.stack.ends import refuse_what_went_back

WANTED = {
    ENDPOINT: Resource("Endpoint", ENDPOINT, "twin", {"EndpointName": "twin", "EndpointConfigName": "twin-new"}),
    INFERENCE_COMPONENT: Resource(
        "InferenceComponent",
        INFERENCE_COMPONENT,
        "twin",
        {"Specification": {"ModelName": "twin-new"}, "RuntimeConfig": {"CopyCount": 1}},
    ),
}
BEFORE: dict[str, dict[str, Any]] = {
    ENDPOINT: {"EndpointConfigName": "twin-old"},
    INFERENCE_COMPONENT: {"Specification": {"ModelName": "twin-old"}, "RuntimeConfig": {"CopyCount": 1}},
}


@pytest.mark.parametrize("kind", [ENDPOINT, INFERENCE_COMPONENT])
def test_what_was_rolled_back_under_a_complete_stack_is_an_error(kind: str) -> None:
    """It names what serves, what was wanted and the cloud's reason."""
    standing = Found(kind, "twin", BEFORE[kind], status="InService", reason="an alarm went off")
    with pytest.raises(DeployError, match=r"'twin-old', wanted 'twin-new'\. The cloud says: an alarm went off"):
        refuse_what_went_back("llmdeploy-twin", WANTED[kind], standing)


@pytest.mark.parametrize("kind", [ENDPOINT, INFERENCE_COMPONENT])
def test_what_is_gone_under_a_complete_stack_is_an_error(kind: str) -> None:
    """Nothing answers then."""
    with pytest.raises(DeployError, match="'twin' is gone"):
        refuse_what_went_back("llmdeploy-twin", WANTED[kind], None)


@pytest.mark.parametrize("kind", [ENDPOINT, INFERENCE_COMPONENT])
def test_what_serves_as_asked_is_none_whatever_else_moved(kind: str) -> None:
    """Copies are autoscaling's to change, and what AWS adds is no difference."""
    serves = {**WANTED[kind].properties, "RuntimeConfig": {"CopyCount": 2}}
    standing = replace(Found(kind, "twin", serves), reason="of an earlier update")
    refuse_what_went_back("llmdeploy-twin", WANTED[kind], standing)
