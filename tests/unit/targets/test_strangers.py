"""What others left: told as far as it may be looked at; adopted one by one, and never out of a stack's hands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from llm_deploy.aws import Session
from llm_deploy.errors import AccessDeniedError, ConflictError, NotFoundError, SpecError
from llm_deploy.resource import TAG_DEPLOYMENT, tag_list
from llm_deploy.targets.sagemaker.strangers import adopt, census, find, new_owner, strangers

NOUNS = {"endpoint": "Endpoint", "endpoint_config": "EndpointConfig", "model": "Model"}
NOUNS["inference_component"] = "InferenceComponent"


@dataclass
class FakeSageMaker:
    """Hosting objects as SageMaker describes them, some of which may not be looked at.

    Attributes:
        objects: By (verb, name): the description.
        tags: By name.
        hidden: Names that describing answers with a refusal for.
        added: Every call of AddTags.
    """

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    added: list[dict[str, Any]] = field(default_factory=list)

    def __getattr__(self, operation: str) -> Any:  # noqa: ANN401 - as botocore's clients
        if not operation.startswith("describe_"):
            raise AttributeError(operation)
        return lambda **request: self.described(operation.removeprefix("describe_"), *request.values())

    def described(self, verb: str, name: str) -> dict[str, Any]:
        """An object, or one of AWS's two refusals."""
        if name in self.hidden:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, verb)
        if (verb, name) not in self.objects:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find it"}}, verb)
        return {f"{NOUNS[verb]}Arn": f"arn/{name}", f"{NOUNS[verb]}Status": "InService", **self.objects[verb, name]}

    def get_paginator(self, operation: str) -> Any:  # noqa: ANN401 - as above
        """Of the lists and of the tags."""
        return Pages(self, operation)

    def add_tags(self, **request: Any) -> None:  # noqa: ANN401 - as above
        """Note it."""
        self.added.append(request)


@dataclass
class Pages:
    """One page of a list."""

    aws: FakeSageMaker
    operation: str

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - as above
        """Names with ARNs, or tags."""
        if self.operation == "list_tags":
            yield {"Tags": tag_list(self.aws.tags.get(request["ResourceArn"].removeprefix("arn/"), {}))}
            return
        verb = self.operation.removeprefix("list_").removesuffix("s")
        noun = NOUNS[verb]
        names = [name for kind, name in self.aws.objects if kind == verb]
        yield {f"{noun}s": [{f"{noun}Name": name, f"{noun}Arn": f"arn/{name}"} for name in names]}


class NoTargets:
    """Application Auto Scaling without a target."""

    def get_paginator(self, _operation: str) -> NoTargets:
        """Of the list of targets."""
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        """None."""
        yield {"ScalableTargets": []}


def session(aws: FakeSageMaker) -> Session:
    return Session("eu-central-1", _clients={"sagemaker": aws, "application-autoscaling": NoTargets()})


def account(tags: dict[str, dict[str, str]] | None = None, hidden: frozenset[str] = frozenset()) -> FakeSageMaker:
    """An endpoint with its config and model, an idle config and model, and a component whose endpoint is gone."""
    variant = {"VariantName": "v", "InstanceType": "ml.g5.2xlarge", "InitialInstanceCount": 1, "ModelName": "m"}
    return FakeSageMaker(
        {
            ("endpoint", "e"): {"EndpointConfigName": "c"},
            ("endpoint_config", "c"): {"ProductionVariants": [variant]},
            ("endpoint_config", "idle-c"): {"ProductionVariants": [{**variant, "ModelName": "other"}]},
            ("model", "m"): {},
            ("model", "idle-m"): {},
            ("inference_component", "orphan"): {"EndpointName": "gone", "Specification": {"ModelName": "m"}},
        },
        tags or {},
        hidden,
    )


def told(aws: FakeSageMaker) -> dict[str, str]:
    return {each.name: each.why for each in strangers(session(aws), census(session(aws)))}


def test_what_bills_and_what_dangles_is_told() -> None:
    """What an endpoint uses, directly or over its config, is not."""
    assert told(account()) == {
        "e": "bills while it stands",
        "idle-c": "no endpoint uses it",
        "idle-m": "no endpoint config and no component names it",
        "orphan": "its endpoint is gone",
    }


def test_ours_is_not_told_as_others() -> None:
    """It has its own search."""
    assert told(account({"e": {TAG_DEPLOYMENT: "e"}, "orphan": {TAG_DEPLOYMENT: "gone"}})).keys() == {
        "idle-c",
        "idle-m",
    }


def test_where_something_is_hidden_nothing_is_told_as_unused() -> None:
    """A narrow identity cannot know what an endpoint that it may not look at uses."""
    aws = account(hidden=frozenset({"c"}))
    assert census(session(aws)).hidden == 1
    assert told(aws) == {"e": "bills while it stands"}


def test_adopting_tags_exactly_one_object() -> None:
    """Under its own name where nothing uses it."""
    aws = account()
    found = find(session(aws), "idle-m")
    adopt(session(aws), found, new_owner(session(aws), found))
    assert aws.added == [{"ResourceArn": "arn/idle-m", "Tags": [{"Key": TAG_DEPLOYMENT, "Value": "idle-m"}]}]


def test_what_a_deployment_of_ours_uses_becomes_part_of_it() -> None:
    """So that its deletion takes it as well."""
    aws = account({"e": {TAG_DEPLOYMENT: "e"}})
    assert new_owner(session(aws), find(session(aws), "c")) == "e"


@pytest.mark.parametrize(
    ("name", "tags", "message"),
    [
        ("c", {}, "used by Endpoint 'e', which is not llmdeploy's"),
        ("e", {"e": {"aws:cloudformation:stack-name": "theirs"}}, "belongs to the CloudFormation stack 'theirs'"),
        ("e", {"e": {TAG_DEPLOYMENT: "e"}}, "llmdeploy's already"),
    ],
)
def test_what_must_not_be_adopted(name: str, tags: dict[str, dict[str, str]], message: str) -> None:
    """What others still use, what a stack owns, what is ours."""
    aws = account(tags)
    with pytest.raises(ConflictError, match=message):
        new_owner(session(aws), find(session(aws), name))
    assert aws.added == []


@pytest.mark.parametrize("name", ["idle-m", "idle-c"])
def test_what_something_hidden_may_use_is_not_adopted(name: str) -> None:
    """A narrow identity cannot know; the message says how many objects it could not look at."""
    aws = account(hidden=frozenset({"e", "c"}))
    with pytest.raises(AccessDeniedError, match=f"{name}' may be in use: 2 objects may not be looked at"):
        new_owner(session(aws), find(session(aws), name))


def test_a_shadow_variant_is_a_use() -> None:
    """Else its model would be told as unused, adopted and removed under an endpoint that serves."""
    aws = account()
    aws.objects["endpoint_config", "c"]["ShadowProductionVariants"] = [{"VariantName": "s", "ModelName": "idle-m"}]
    assert "idle-m" not in told(aws)
    with pytest.raises(ConflictError, match="is used by EndpointConfig 'c'"):
        new_owner(session(aws), find(session(aws), "idle-m"))


def test_a_name_that_several_kinds_have_must_be_told_apart() -> None:
    """Nothing is adopted by accident."""
    aws = account()
    aws.objects["model", "e"] = {}
    with pytest.raises(SpecError) as caught:
        find(session(aws), "e")
    assert caught.value.hint == "Say which one: Endpoint/e or Model/e"
    assert find(session(aws), "Model/e").attributes["Arn"] == "arn/e"
    with pytest.raises(NotFoundError):
        find(session(aws), "nobody")
