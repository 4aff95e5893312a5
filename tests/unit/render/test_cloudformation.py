"""The renderer: documents as they are, references where something is known only to the stack, safe JSON and YAML."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st

from llm_deploy.render import cloudformation
from llm_deploy.resource import (
    ACCESS_KEY,
    ACCOUNT_OF_STACK,
    MANAGED_POLICY,
    MODEL,
    PARTITION_OF_STACK,
    ROLE,
    SCALABLE_TARGET,
    SCALING_POLICY,
    USER,
    Parameter,
    Ref,
    Resource,
)
from llm_deploy.targets.sagemaker.strategy import resources
from tests.specs import resolved, twin

ROLE_ARN = f"arn:{PARTITION_OF_STACK}:iam::{ACCOUNT_OF_STACK}:role/a"
GIVEN = Parameter("Role", "A role.", "^arn:.*$")


def model(**properties: Any) -> Resource:  # noqa: ANN401 - a document's values are of any type
    return Resource("Model", MODEL, "m", {"ModelName": "m", **properties}, tags={"b": "2", "a": "1"})


def properties_of(resource: Resource, *others: Resource) -> Any:  # noqa: ANN401 - as above
    return cloudformation.template([resource, *others])["Resources"][resource.id]["Properties"]


def substituted(text: str, values: dict[str, str]) -> str:
    """What `Fn::Sub` makes of a text: `${!x}` is `${x}`, a name is its value."""
    return re.sub(r"\$\{(!?)([^}]*)\}", lambda found: f"${{{found[2]}}}" if found[1] else values[found[2]], text)


@pytest.mark.row("T3")
def test_a_document_is_rendered_as_it_is_and_tags_are_a_sorted_list() -> None:
    """The template's properties are the request's members; nothing is renamed."""
    found = properties_of(model(PrimaryContainer={"Image": "i", "Environment": {"N": "1"}}))
    assert found == {
        "ModelName": "m",
        "PrimaryContainer": {"Image": "i", "Environment": {"N": "1"}},
        "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
    }


@pytest.mark.parametrize("kind", [MANAGED_POLICY, SCALING_POLICY])
def test_kinds_that_take_no_tags_get_none(kind: str) -> None:
    """CloudFormation refuses `Tags` on these types."""
    assert "Tags" not in properties_of(replace(model(), kind=kind))
    assert "Tags" in properties_of(replace(model(), kind=SCALABLE_TARGET))


def test_a_reference_is_an_attribute_and_implies_the_order() -> None:
    """`Fn::GetAtt` by the type's own name of the attribute; what it implies is not said by DependsOn again (W3005)."""
    policy = Resource("Policy", MANAGED_POLICY, "p", {})
    role = Resource("Role", ROLE, "r", {"ManagedPolicyArns": [Ref("Policy", "Arn")]}, depends_on=("Policy",))
    user = Resource("User", USER, "u", {"Of": Ref("Role", "Arn")}, depends_on=("Role", "Policy"))
    found = cloudformation.template([policy, role, user])["Resources"]
    assert found["Role"]["Properties"] == {"ManagedPolicyArns": [{"Fn::GetAtt": ["Policy", "PolicyArn"]}]}
    assert "DependsOn" not in found["Role"]
    assert found["User"]["Properties"] == {"Of": {"Fn::GetAtt": ["Role", "Arn"]}}
    assert found["User"]["DependsOn"] == ["Policy"]


def test_an_access_key_is_never_rendered() -> None:
    """Its secret would be readable in the stack; it is named as left out, and nothing depends on it."""
    key = Resource("Key", ACCESS_KEY, "k", {"UserName": "k"})
    found = cloudformation.template([key, replace(model(), depends_on=("Key",))])
    assert list(found["Resources"]) == ["Model"]
    assert "DependsOn" not in found["Resources"]["Model"]
    assert cloudformation.left_out([key, model()]) == (key,)


def test_a_symbolic_place_becomes_references_and_other_braces_stay_texts() -> None:
    """IAM's policy variables look like substitutions; CloudFormation must not take them for its own."""
    document = {"Account": ACCOUNT_OF_STACK, "Arn": ROLE_ARN, "Tagged": ROLE_ARN + "/${aws:PrincipalTag/team}"}
    found = properties_of(model(**document))
    assert found["Account"] == {"Ref": "AWS::AccountId"}
    assert found["Arn"] == {"Fn::Sub": ROLE_ARN}
    assert found["Tagged"] == {"Fn::Sub": ROLE_ARN + "/${!aws:PrincipalTag/team}"}


@given(parts=st.lists(st.sampled_from([ACCOUNT_OF_STACK, PARTITION_OF_STACK, "}", "${a}", "${!b}", "$", "x"])))
def test_what_the_stack_substitutes_is_what_was_meant(parts: list[str]) -> None:
    """Evaluated as CloudFormation would, a text holds account and partition and is otherwise unchanged."""
    text = "".join(parts)
    meant = text.replace(ACCOUNT_OF_STACK, "123456789012").replace(PARTITION_OF_STACK, "aws")
    found = properties_of(model(Text=text))["Text"]
    values = {"AWS::AccountId": "123456789012", "AWS::Partition": "aws"}
    if isinstance(found, str):
        assert found == text == meant
    elif "Ref" in found:
        assert values[found["Ref"]] == meant
    else:
        assert substituted(found["Fn::Sub"], values) == meant


def test_a_parameter_is_declared_where_a_document_holds_one() -> None:
    """Declared once, with its pattern, and referred to; without one there is no such section."""
    found = cloudformation.template([model(ExecutionRoleArn=GIVEN), replace(model(A=[GIVEN]), id="Other")])
    assert found["Parameters"] == {"Role": {"Type": "String", "Description": "A role.", "AllowedPattern": "^arn:.*$"}}
    assert found["Resources"]["Model"]["Properties"]["ExecutionRoleArn"] == {"Ref": "Role"}
    assert "Parameters" not in cloudformation.template([model()])


def test_a_template_for_one_region_refuses_every_other() -> None:
    """Images and policies name the region; elsewhere a stack would be half right, so it is not begun."""
    rule = cloudformation.template([model()], region="eu-west-1")["Rules"]["Region"]["Assertions"][0]
    assert rule["Assert"] == {"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-west-1"]}
    assert "eu-west-1" in rule["AssertDescription"]
    assert "Rules" not in cloudformation.template([model()])


def test_whole_numbers_are_written_as_such() -> None:
    """Only Python writes 1.0 for a whole number; the CDK and jq would not agree with it."""
    assert json.dumps(properties_of(model(A=1.0, B=2.5, C=True, D=0))).startswith(
        '{"ModelName": "m", "A": 1, "B": 2.5, "C": true, "D": 0'
    )


def test_outputs_name_what_callers_need() -> None:
    """Endpoint, config and component by name, the endpoint's ARN and address; others where they are asked for."""
    listed = resources(resolved(twin()))
    found = cloudformation.template(listed)["Outputs"]
    assert found["EndpointName"]["Value"] == {"Fn::GetAtt": ["Endpoint", "EndpointName"]}
    assert found["EndpointArn"]["Value"] == {"Ref": "Endpoint"}
    assert found["EndpointConfigName"]["Value"] == {"Fn::GetAtt": ["EndpointConfig", "EndpointConfigName"]}
    assert found["InferenceComponentName"]["Value"] == "twin"
    assert found["InvokeUrl"]["Value"]["Fn::Sub"].endswith("/endpoints/${Endpoint.EndpointName}/invocations")
    own = cloudformation.template(listed, outputs={"Mine": {"Value": Ref("Endpoint", "EndpointName")}})
    assert own["Outputs"] == {"Mine": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}}}
    assert "Outputs" not in cloudformation.template(listed, outputs={})


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "yes",
        "no",
        "null",
        "~",
        "2012-10-17",
        "1e3",
        "0x1",
        "012",
        "12:30",
        "- a",
        "!Ref x",
        "a: b",
        "#",
        "",
        " ",
        "\n",
        "\x7f",
    ]
)


@given(environment=st.dictionaries(st.from_regex(r"X_[A-Z]{1,8}", fullmatch=True), texts, max_size=5))
def test_json_and_yaml_hold_the_same_texts(environment: dict[str, str]) -> None:
    """Whatever a value looks like (a date, a boolean, a tag), it is read back as the text that it is."""
    document = cloudformation.template([model(PrimaryContainer={"Environment": environment})], description="yes")
    assert json.loads(cloudformation.to_json(document)) == document
    assert json.loads(cloudformation.to_json(document, indent=None)) == document
    assert yaml.safe_load(cloudformation.to_yaml(document)) == document
    assert yaml.safe_load(cloudformation.to_json(document)) == document, "JSON is YAML to cfn-lint"


def test_yaml_has_no_aliases() -> None:
    """CloudFormation refuses them; PyYAML writes them for an object that stands twice."""
    shared = {"Image": "i"}
    text = cloudformation.to_yaml({"A": shared, "B": shared})
    assert "&" not in text
    assert "*" not in text
