"""What `list --all` adds: models, configs and scalable targets of ours that have no endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from llm_deploy.aws import Session
from llm_deploy.errors import CloudError
from llm_deploy.resource import TAG_DEPLOYMENT
from llm_deploy.targets.sagemaker.leftovers import Leftovers, leftovers


@dataclass
class FakeSageMaker:
    """Models and configs, one a page. By name: the deployment that owns it, `None` for nobody, or an error's code."""

    models: dict[str, str | None]
    configs: dict[str, str | None]
    operation: str = ""
    standing: tuple[str, ...] = ("up",)

    def get_paginator(self, operation: str) -> FakeSageMaker:
        """A paginator for one of the lists."""
        return FakeSageMaker(self.models, self.configs, operation)

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - requests are documents
        """The pages of an answer."""
        if self.operation == "list_models":
            yield from ({"Models": [{"ModelName": name, "ModelArn": f"arn/{name}"}]} for name in self.models)
        elif self.operation == "list_endpoint_configs":
            for name in self.configs:
                yield {"EndpointConfigs": [{"EndpointConfigName": name, "EndpointConfigArn": f"arn/{name}"}]}
        elif self.operation in {"list_endpoints", "list_inference_components"}:
            noun = "Endpoint" if self.operation == "list_endpoints" else "InferenceComponent"
            yield {f"{noun}s": [{f"{noun}Name": name, f"{noun}Arn": f"arn/{name}"} for name in self.standing]}
        else:
            yield {"Tags": self.tags(request["ResourceArn"].removeprefix("arn/"))}

    def tags(self, name: str) -> list[dict[str, str]]:
        """An object's tags, or the refusal."""
        owned_by = (self.models | self.configs)[name]
        if owned_by is not None and owned_by[0].isupper():
            raise ClientError({"Error": {"Code": owned_by, "Message": "no"}}, "ListTags")
        return [] if owned_by is None else [{"Key": TAG_DEPLOYMENT, "Value": owned_by}]


@dataclass
class FakeAutoscaling:
    """Scalable targets on components. By the component's name: as the models of `FakeSageMaker`."""

    targets: dict[str, str | None]

    def get_paginator(self, _operation: str) -> FakeAutoscaling:
        """A paginator for the list of targets."""
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        """All of them."""
        ids = [f"inference-component/{name}" for name in self.targets]
        yield {"ScalableTargets": [{"ResourceId": each, "ScalableTargetARN": f"arn/{each}"} for each in ids]}

    def list_tags_for_resource(self, **request: str) -> dict[str, Any]:
        """A target's tags, or the refusal."""
        owned_by = self.targets[request["ResourceARN"].rpartition("/")[2]]
        if owned_by is not None and owned_by[0].isupper():
            raise ClientError({"Error": {"Code": owned_by, "Message": "no"}}, "ListTagsForResource")
        return {"Tags": {} if owned_by is None else {TAG_DEPLOYMENT: owned_by}}


def found(
    models: dict[str, str | None],
    configs: dict[str, str | None],
    *standing: str,
    targets: dict[str, str | None] | None = None,
) -> list[Leftovers]:
    clients = {"sagemaker": FakeSageMaker(models, configs), "application-autoscaling": FakeAutoscaling(targets or {})}
    session = Session("eu-central-1", _clients=clients)
    return list(leftovers(session, standing))


def test_what_has_no_endpoint_is_told_by_deployment() -> None:
    """Grouped by the ownership tag, not by the look of a name; what stands is not repeated."""
    models: dict[str, str | None] = {"twin-1": "twin", "old-1": "old", "old-2": "old", "twin-x-1": "twin-x"}
    configs: dict[str, str | None] = {"twin-2": "twin", "old-3": "old", "conf-1": "conf"}
    assert found(models, configs, "twin") == [
        Leftovers("conf", (), ("conf-1",)),
        Leftovers("old", ("old-1", "old-2"), ("old-3",)),
        Leftovers("twin-x", ("twin-x-1",), ()),
    ]


@pytest.mark.parametrize("answer", [None, "AccessDeniedException", "ResourceNotFound"])
def test_what_is_not_ours_or_gone_is_left_out(answer: str | None) -> None:
    """A stranger's model must not end the whole list."""
    assert found({"stranger": answer, "old-1": "old"}, {}) == [Leftovers("old", ("old-1",), ())]


def test_another_error_is_no_empty_answer() -> None:
    """What is not known is not taken for absent."""
    with pytest.raises(CloudError):
        found({"old-1": "InternalFailure"}, {})


@pytest.mark.parametrize("stranger", [None, "AccessDeniedException", "ObjectNotFoundException"])
def test_scalable_targets_on_nothing_are_told(stranger: str | None) -> None:
    """AWS keeps a target when its component goes; strangers' targets and those on what stands are no leftovers."""
    targets = {"gone": "old", "up": "old", "theirs": stranger}
    assert found({}, {}, targets=targets) == [Leftovers("old", (), (), ("inference-component/gone",))]
