"""A change set becomes the lines of a plan."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import Action, Difference
from llm_deploy.resource import ENDPOINT, MODEL, SCALABLE_TARGET, SCALING_POLICY, Resource
from llm_deploy.targets.stack.changes import PERHAPS_REPLACED, REPLACED, is_member, plan_lines
from llm_deploy.targets.stack.stacks import Member, object_name

ARN = "arn:aws:sagemaker:eu-central-1:000000000000"
WANTED = (
    Resource("Model", MODEL, "twin-2", {"ModelName": "twin-2"}, purpose="weights"),
    Resource("Endpoint", ENDPOINT, "twin", {"EndpointName": "twin"}),
)
POLICY_ARN = (
    "arn:aws:autoscaling:eu-central-1:000000000000:scalingPolicy:0a1b:resource/sagemaker/endpoint/twin/variant/main"
    ":policyName/twin-target-tracking"
)


def change(action: str, identity: str, kind: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - documents
    return {"ResourceChange": {"Action": action, "LogicalResourceId": identity, "ResourceType": kind, **more}}


def test_what_a_change_set_does_not_name_stays() -> None:
    """An empty change set is a plan that keeps everything, in the order of the resources."""
    lines = plan_lines([], WANTED)
    assert [(line.action, line.name) for line in lines] == [(Action.KEEP, "twin-2"), (Action.KEEP, "twin")]


@pytest.mark.parametrize(
    ("given", "action", "note"),
    [
        (change("Add", "Model", MODEL), Action.CREATE, ""),
        (change("Modify", "Model", MODEL, Replacement="True"), Action.REPLACE, REPLACED),
        (change("Modify", "Model", MODEL, Replacement="Conditional"), Action.UPDATE, PERHAPS_REPLACED),
        (change("Modify", "Model", MODEL, Replacement="False"), Action.UPDATE, ""),
        (change("Import", "Model", MODEL), Action.KEEP, "taken into the stack as it is"),
    ],
)
def test_each_action_has_its_symbol(given: dict[str, Any], action: Action, note: str) -> None:
    """Additions, replacements, changes in place and imports are told apart, and a perhaps is called one."""
    line = plan_lines([given], WANTED)[0]
    assert (line.action, line.note, line.purpose) == (action, note, "weights")


def test_removals_come_last_and_have_our_names() -> None:
    """What the template no longer holds is named as everywhere else, not by its ARN."""
    removed = change("Remove", "Policy", SCALING_POLICY, PhysicalResourceId=f"{POLICY_ARN}|sagemaker:variant:Desired")
    last = plan_lines([removed], WANTED)[-1]
    assert (last.action, last.name) == (Action.DELETE, "endpoint/twin/variant/main|twin-target-tracking")


def test_values_are_compared_leaf_by_leaf() -> None:
    """Only what differs is shown: nested properties by their path, tags by their key, attributes by their name."""
    before = {
        "Properties": {
            "PrimaryContainer": {"Image": "a", "Environment": {"X": "1", "Y": "2"}},
            "Tags": [{"Key": "team", "Value": "a"}, {"Key": "same", "Value": "s"}],
        },
        "DeletionPolicy": "Retain",
    }
    after = {
        "Properties": {
            "PrimaryContainer": {"Image": "a", "Environment": {"X": "9", "Y": "2"}},
            "Tags": [{"Key": "same", "Value": "s"}, {"Key": "team", "Value": "b"}],
        }
    }
    given = change(
        "Modify", "Model", MODEL, BeforeContext=json.dumps(before), AfterContext=json.dumps(after), Replacement="True"
    )
    assert plan_lines([given], WANTED)[0].differences == (
        Difference("DeletionPolicy", "Retain", None),
        Difference("PrimaryContainer.Environment.X", "1", "9"),
        Difference("Tags.team", "a", "b"),
    )


@pytest.mark.parametrize("context", [None, "", "no json"])
def test_without_values_the_names_of_what_changes_are_shown(context: str | None) -> None:
    """A cloud that tells no values still tells which properties."""
    details = [{"Target": {"Attribute": "Properties", "Name": "PrimaryContainer"}}, {"Target": {"Attribute": "Tags"}}]
    more = {} if context is None else {"BeforeContext": context, "AfterContext": context}
    given = change("Modify", "Model", MODEL, Details=details, **more)
    assert [item.path for item in plan_lines([given], WANTED)[0].differences] == ["PrimaryContainer", "Tags"]


@pytest.mark.parametrize(
    ("kind", "physical_id", "name"),
    [
        (MODEL, f"{ARN}:model/twin-1", "twin-1"),
        (SCALABLE_TARGET, "endpoint/twin/variant/main|sagemaker:variant:DesiredInstanceCount|sagemaker", None),
        (SCALING_POLICY, f"{POLICY_ARN}|sagemaker:variant:DesiredInstanceCount", None),
    ],
)
def test_a_stacks_word_for_an_object_leads_to_ours(kind: str, physical_id: str, name: str | None) -> None:
    """Membership is judged by our names, whatever the stack's `Ref` is; ARNs are in lower case."""
    ours = {
        SCALABLE_TARGET: "endpoint/twin/variant/main",
        SCALING_POLICY: "endpoint/twin/variant/main|twin-target-tracking",
    }
    expected = name or ours[kind]
    assert object_name(kind, physical_id) == expected
    member = Member("X", kind, physical_id, "CREATE_COMPLETE")
    assert is_member(Found(kind, expected.upper()), [member])
    assert not is_member(Found(kind, f"{expected}x"), [member])
