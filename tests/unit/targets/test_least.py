"""The least policy of one deployment: exact names, its features only, and no more than its prefix's role has."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from llm_deploy import catalog
from llm_deploy.spec import DeploymentSpec, Place, ResolvedSpec
from llm_deploy.targets.sagemaker import iam, strategy
from llm_deploy.targets.sagemaker.least import IDENTITIES, Identity, least
from llm_deploy.targets.sagemaker.statements import statements

PLACE = Place(partition="aws", region="eu-central-1", account="123456789012")
ROLE = "arn:aws:iam::123456789012:role/llmdeploy-shop-execution"
SCALING = {"min_copies": 1, "max_copies": 2}


def resolved(**fields: Any) -> ResolvedSpec:  # noqa: ANN401 - a spec's fields
    """A small spec with other fields."""
    spec = DeploymentSpec.model_validate({"name": "shop-bot", "model": "org/m", **fields})
    return catalog.resolve(spec, PLACE, ROLE)


def triples(found: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Sid, action, resource."""
    return {
        (statement["Sid"], action, resource)
        for statement in found
        for action in statement["Action"]
        for resource in ([statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"])
    }


def allowed(of: ResolvedSpec, identity: Identity = "deploy") -> set[tuple[str, str, str]]:
    """What a least policy allows."""
    return triples(least(of, identity).document["Statement"])


def test_names_are_exact_where_they_are_known() -> None:
    """The endpoint and the component by name, what is named by content by all but its hash."""
    of = resolved(endpoint_config_name="conf", inference_component_name="shop-bot-copy")
    changed = {on.rpartition(":")[2] for sid, action, on in allowed(of) if action.startswith("sagemaker:Delete")}
    assert changed == {
        "model/shop-bot-*",
        "endpoint-config/shop-bot-conf-*",
        "endpoint/shop-bot",
        "inference-component/shop-bot-copy",
    }
    for resource in strategy.resources(of)[:4]:
        assert any(fnmatchcase(resource.name, name.partition("/")[2]) for name in changed)


def test_features_that_a_spec_does_not_use_are_not_granted() -> None:
    """No component, nothing about components; no autoscaling, nothing about autoscaling; one kind of it, not both."""
    plain = {sid for sid, _, _ in allowed(resolved(endpoint_type="model"))}
    assert not {"MakeComponents", "RegisterTargets"} & plain
    about = {sid for sid, _, on in allowed(resolved(endpoint_type="model")) if "omponent" in on}
    assert about == {"ReadDeployments", "ReadLogs", "DeleteLogGroups"}, (
        "whether there is, or was, a component is asked of every deployment"
    )
    machines = {sid for sid, _, _ in allowed(resolved(endpoint_type="model", autoscaling=SCALING))}
    assert {"ScaleInstances", "InstanceAlarms"} <= machines
    assert not {"ScaleCopies", "CopyAlarms"} & machines
    assert not {"MakeAlarms", "WatchAlarms"} & plain
    watched = resolved(update={"alarms": {"errors_above": 5}})
    assert {on for sid, _, on in allowed(watched) if sid == "MakeAlarms"} == {
        "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:shop-bot-*"
    }
    assert "WatchAlarms" in {sid for sid, _, _ in allowed(watched, "execution")}
    assert "WatchAlarms" not in {sid for sid, _, _ in allowed(resolved(), "execution")}
    copies = {sid for sid, _, _ in allowed(resolved(autoscaling=SCALING))}
    assert {"ScaleCopies", "CopyAlarms"} <= copies
    assert not {"ScaleInstances", "InstanceAlarms"} & copies


def test_cloudformation_is_granted_only_to_who_goes_through_it() -> None:
    """One stack by its name; schedules and alarms only where there are any."""
    assert not any("cloudformation" in action for _, action, _ in allowed(resolved()))
    plain = triples(least(resolved(), "deploy", through_stack=True).document["Statement"])
    assert {on for _, action, on in plain if action.startswith("cloudformation:")} == {
        "arn:aws:cloudformation:eu-central-1:123456789012:stack/llmdeploy-shop-bot/*"
    }
    used = {"autoscaling": SCALING, "update": {"alarms": {"errors_above": 5}}}
    full = triples(least(resolved(**used), "deploy", through_stack=True).document["Statement"])
    optional = {"FindSchedules", "TagOwnTargets", "UntagAlarms"}
    assert not optional & {sid for sid, _, _ in plain}
    assert optional <= {sid for sid, _, _ in full}


@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_it_is_never_more_than_the_role_of_its_prefix(endpoint_type: str) -> None:
    """Each action is one of the role's in the same statement, on what the role's pattern covers."""
    of = resolved(endpoint_type=endpoint_type, autoscaling=SCALING)
    scope = iam.scope(iam.RolesWish(PLACE, "shop"))
    role = triples([statement for name in iam.DEPLOY_POLICIES for statement in statements(name, scope)])
    for sid, action, on in triples(least(of, "deploy", through_stack=True).document["Statement"]):
        patterns = {pattern for other, each, pattern in role if (other, each) == (sid, action)}
        assert any(fnmatchcase(on, pattern) for pattern in patterns), (sid, action, on)


def test_the_containers_pull_their_image_and_read_their_weights_only() -> None:
    """One repository, the spec's prefix in S3, their own log groups."""
    of = resolved(model="s3://models/llm/twin/", endpoint_type="model")
    found = allowed(of, "execution")
    assert {on for _, action, on in found if action == "ecr:BatchGetImage"} == {
        "arn:aws:ecr:eu-central-1:763104351884:repository/huggingface-pytorch-tgi-inference"
    }
    assert {on for _, action, on in found if action == "s3:GetObject"} == {"arn:aws:s3:::models/llm/twin/*"}
    logs = {on.partition("log-group:")[2] for _, action, on in found if action == "logs:PutLogEvents"}
    assert logs == {"/aws/sagemaker/Endpoints/shop-bot:*"}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_each_statement_says_what_needs_it(identity: Identity) -> None:
    """As the reference page does."""
    found = least(resolved(autoscaling=SCALING), identity)
    assert {statement["Sid"] for statement in found.document["Statement"]} <= found.needs.keys()
