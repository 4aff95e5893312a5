"""Templates as requests, and what change sets say of values: the pure parts of the local CloudFormation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_deploy.emulator.backend.stacks.documents import PropertyError, shaped
from llm_deploy.emulator.backend.stacks.providers import tag_changes
from llm_deploy.emulator.backend.stacks.types import resource_types
from llm_deploy.emulator.backend.stacks.values import NAMESPACE, add_values, known_now, with_values

KNOWN_AFTER = "{{changeSet:KNOWN_AFTER_APPLY}}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"InitialInstanceCount": "2"}, {"InitialInstanceCount": 2}),
        ({"InitialVariantWeight": "1"}, {"InitialVariantWeight": 1.0}),
        ({"EnableSSMAccess": "true"}, {"EnableSSMAccess": True}),
        ({"VariantName": 5}, {"VariantName": "5"}),
    ],
)
def test_texts_of_parameters_become_what_the_request_wants(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """A template's parameters are texts; numbers and truth values are read from them."""
    asked = {"EndpointConfigName": "c", "ProductionVariants": [given]}
    assert shaped("sagemaker", "CreateEndpointConfig", asked)["ProductionVariants"] == [expected]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ModelNam": "x"}, "#: extraneous key [ModelNam] is not permitted"),
        ({"PrimaryContainer": {"Imagine": "x"}}, "#/PrimaryContainer: extraneous key [Imagine] is not permitted"),
        ({"PrimaryContainer": "x"}, "#/PrimaryContainer: expected type: JSONObject"),
    ],
)
def test_what_no_request_has_is_refused_with_its_place(given: dict[str, Any], words: str) -> None:
    """Ledger: cfn.extraneous-key, cfn.wrong-type."""
    with pytest.raises(PropertyError) as refused:
        shaped("sagemaker", "CreateModel", given)
    assert words in str(refused.value)


def test_tags_are_set_and_removed_by_difference() -> None:
    """What is the same is left alone."""
    old = {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}
    new = {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "c", "Value": 3}]}
    assert tag_changes(old, new) == ({"c": "3"}, ("b",))


def test_references_are_known_unless_what_they_name_moves() -> None:
    """Ledger: cfn.known-after: an attribute of a resource that is replaced is told by the deployment alone."""
    template = {
        "Resources": {
            "Model": {"Type": "M", "Properties": {}},
            "Config": {
                "Type": "C",
                "Properties": {
                    "Name": {"Fn::GetAtt": "Model.ModelName"},
                    "Arn": [{"Ref": "Model"}],
                    "P": {"Ref": "Parameter"},
                },
            },
        }
    }
    records = {"Model": {"PhysicalResourceId": "arn:model", "Attributes": {"ModelName": "twin-1"}}}
    still = known_now(template, records, set())["Resources"]["Config"]["Properties"]
    assert still == {"Name": "twin-1", "Arn": ["arn:model"], "P": {"Ref": "Parameter"}}
    moving = known_now(template, records, {"Model"})["Resources"]["Config"]["Properties"]
    assert moving == {"Name": KNOWN_AFTER, "Arn": [KNOWN_AFTER], "P": {"Ref": "Parameter"}}
    assert known_now({}, {}, set()) == {}


def test_values_stand_where_botocore_looks_for_them() -> None:
    """Ledger: cfn.property-values: contexts of the change, path and values of its details, and nothing else moves."""
    target: dict[str, Any] = {"Attribute": "Properties", "Name": "Max"}
    changes: list[dict[str, Any]] = [
        {"ResourceChange": {"Action": "Modify", "LogicalResourceId": "T", "Details": [{"Target": target}]}},
        {"ResourceChange": {"Action": "Add", "LogicalResourceId": "N"}},
    ]
    before = {"Resources": {"T": {"Type": "X", "Properties": {"Max": 2}}}}
    after = {"Resources": {"T": {"Type": "X", "Properties": {"Max": 4}}, "N": {"Type": "X", "Properties": {"A": "<"}}}}
    add_values(changes, before, after)
    assert target == {
        "Attribute": "Properties",
        "Name": "Max",
        "Path": "/Properties/Max",
        "AttributeChangeType": "Modify",
        "BeforeValue": "2",
        "AfterValue": "4",
    }
    added = changes[1]["ResourceChange"]
    assert json.loads(added["AfterContext"]) == {"Properties": {"A": "<"}}
    assert "BeforeContext" not in added
    detail = "<Details><member><Target><Name>Max</Name></Target></member></Details>"
    members = f"<member><ResourceChange>{detail}</ResourceChange></member><member><ResourceChange/></member>"
    answer = f'<R xmlns="{NAMESPACE}"><Changes>{members}</Changes></R>'.encode()
    text = with_values(answer, changes).decode()
    assert "<BeforeValue>2</BeforeValue><AfterValue>4</AfterValue>" in text
    assert text.index("AfterContext") < text.rindex("AfterContext")
    assert "&lt;" in text


def test_every_type_is_described() -> None:
    """Ledger: cfn.system-tags, cfn.replacement: models and alarms alone have CloudFormation's own tags."""
    types = resource_types()
    with_system_tags = {kind for kind, described in types.items() if described.system_tags}
    assert with_system_tags == {"AWS::SageMaker::Model", "AWS::CloudWatch::Alarm"}
    assert all(described.identifier for described in types.values())
    assert types["AWS::SageMaker::InferenceComponent"].create_only == ()


def test_the_types_agree_with_the_registry() -> None:
    """The data file says what the schemas of the installed cfn-lint say; an upgrade that moves them fails here."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER as schemas  # noqa: N811, PLC0415 - it takes a second

    for kind, described in resource_types().items():
        schema = schemas.get_resource_schema("us-east-1", kind).schema
        top = {path.split("/")[2] for path in schema.get("createOnlyProperties", ())}
        assert set(described.create_only) == top, kind
        assert [path.split("/")[2] for path in schema["primaryIdentifier"]] == list(described.identifier), kind
        tagging = schema["tagging"]
        assert (tagging["taggable"], tagging.get("cloudFormationSystemTags", False)) == (
            described.tagged,
            described.system_tags,
        ), kind
