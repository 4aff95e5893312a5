"""Where CloudFormation's types and the API's requests differ, computed from the installed schemas and pinned.

The renderer and the managers rest on these differences and on no others. When a new botocore or cfn-lint changes one,
this fails: look whether a member that we could not say before can be said now, then `UPDATE_GOLDEN=1`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from llm_deploy.render import cloudformation
from llm_deploy.resource import (
    ALARM,
    ENDPOINT,
    ENDPOINT_CONFIG,
    IMMUTABLE_KINDS,
    INFERENCE_COMPONENT,
    MANAGED_POLICY,
    MODEL,
    ROLE,
    SCALABLE_TARGET,
    SCALING_POLICY,
    USER,
    Ref,
    Resource,
)
from tests.conftest import ROOT

PINNED = ROOT / "tests" / "golden" / "schema_differences.json"
REGION = "us-east-1"
OPERATIONS = {
    MODEL: ("sagemaker", "CreateModel"),
    ENDPOINT_CONFIG: ("sagemaker", "CreateEndpointConfig"),
    ENDPOINT: ("sagemaker", "CreateEndpoint"),
    INFERENCE_COMPONENT: ("sagemaker", "CreateInferenceComponent"),
    SCALABLE_TARGET: ("application-autoscaling", "RegisterScalableTarget"),
    SCALING_POLICY: ("application-autoscaling", "PutScalingPolicy"),
    ALARM: ("cloudwatch", "PutMetricAlarm"),
    ROLE: ("iam", "CreateRole"),
    MANAGED_POLICY: ("iam", "CreatePolicy"),
    USER: ("iam", "CreateUser"),
}
UPDATES = {
    ENDPOINT: ("sagemaker", "UpdateEndpoint"),
    INFERENCE_COMPONENT: ("sagemaker", "UpdateInferenceComponent"),
}
Schema = Mapping[str, Any]
Paths = dict[str, str]
SESSION = botocore.session.get_session()


def schema_of(kind: str) -> Schema:
    """CloudFormation's schema of a type, as cfn-lint ships it."""
    found: Schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return found


def paths_of_type(kind: str) -> Paths:
    """Every property of a type with its JSON type, without those that only CloudFormation fills in."""
    schema = schema_of(kind)
    read_only = [
        path.removeprefix("/properties/").replace("/*", "[]").replace("/", ".")
        for path in schema.get("readOnlyProperties", ())
    ]
    found = dict(_properties(schema, schema, "", ()))
    return {path: kind for path, kind in found.items() if not any(_within(path, outer) for outer in read_only)}


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _properties(schema: Schema, root: Schema, prefix: str, seen: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    reference = schema.get("$ref")
    if reference is not None:
        if reference not in seen:
            definition = root["definitions"][reference.rpartition("/")[2]]
            yield from _properties(definition, root, prefix, (*seen, reference))
        return
    for name, inner in schema.get("properties", {}).items():
        path = f"{prefix}.{name}" if prefix else name
        yield path, _json_type(inner, root)
        yield from _properties(inner, root, path, seen)
    if "items" in schema:
        yield from _properties(schema["items"], root, f"{prefix}[]", seen)


def _json_type(schema: Schema, root: Schema) -> str:
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type", "object")
    return "|".join(sorted(kind)) if isinstance(kind, list) else str(kind)


BOTO_TYPES = {
    "structure": "object",
    "map": "map",
    "list": "array",
    "long": "integer",
    "float": "number",
    "double": "number",
    "timestamp": "string",
}


def paths_of_request(service: str, operation: str) -> Paths:
    """Every member of a request with its JSON type."""
    shape = SESSION.get_service_model(service).operation_model(operation).input_shape
    return dict(_members(shape, "", ()))


def _members(shape: Any, prefix: str, seen: tuple[str, ...]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - botocore ships no types
    if shape.name in seen:
        return
    if shape.type_name == "structure":
        for name, inner in shape.members.items():
            path = f"{prefix}.{name}" if prefix else name
            yield path, BOTO_TYPES.get(inner.type_name, inner.type_name)
            yield from _members(inner, path, (*seen, shape.name))
    elif shape.type_name == "list":
        yield from _members(shape.member, f"{prefix}[]", seen)


def outermost(paths: set[str]) -> list[str]:
    """Paths that lie under no other of them: a whole branch counts once."""
    return sorted(path for path in paths if not any(_within(path, other) for other in paths - {path}))


def difference(kind: str, service: str, operation: str) -> dict[str, Any]:
    """What one side has and the other has not, and what has another type."""
    type_paths, request_paths = paths_of_type(kind), paths_of_request(service, operation)
    both = type_paths.keys() & request_paths.keys()
    return {
        "only in CloudFormation": outermost(type_paths.keys() - request_paths.keys()),
        "only in the request": outermost(request_paths.keys() - type_paths.keys()),
        "of another type": {
            path: [type_paths[path], request_paths[path]]
            for path in sorted(both)
            if type_paths[path] != request_paths[path]
        },
    }


def test_the_differences_are_those_that_the_adapters_know() -> None:
    """A member that appears on one side, or changes its type, is seen here before it is missed."""
    found = {
        f"{kind} / {operation}": difference(kind, service, operation)
        for operations in (OPERATIONS, UPDATES)
        for kind, (service, operation) in operations.items()
    }
    if os.environ.get("UPDATE_GOLDEN"):
        PINNED.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    assert found == json.loads(PINNED.read_text("utf-8"))


@pytest.mark.parametrize("kind", OPERATIONS)
def test_tags_are_rendered_where_the_type_takes_them(kind: str) -> None:
    """And nowhere else: CloudFormation refuses a property that a type has not."""
    resource = Resource("Any", kind, "any", {}, tags={"a": "1"})
    rendered = cloudformation.template([resource], outputs={})["Resources"]["Any"]["Properties"]
    assert ("Tags" in rendered) == ("Tags" in schema_of(kind)["properties"])


@pytest.mark.parametrize("kind", [ROLE, MANAGED_POLICY, USER, SCALING_POLICY, ALARM])
def test_an_arn_is_asked_for_by_an_attribute_that_the_type_has(kind: str) -> None:
    """`Fn::GetAtt` of what is not a read-only property fails the stack."""
    listed = [Resource("Owner", kind, "o", {}), Resource("User", MODEL, "u", {"Of": Ref("Owner", "Arn")})]
    asked = cloudformation.template(listed, outputs={})["Resources"]["User"]["Properties"]["Of"]["Fn::GetAtt"]
    assert f"/properties/{asked[1]}" in schema_of(kind)["readOnlyProperties"]


@pytest.mark.parametrize("kind", OPERATIONS)
def test_what_the_cloud_cannot_change_is_what_we_name_by_content(kind: str) -> None:
    """Exactly the immutable kinds have nothing but tags that may change; a changed name is a replacement for them."""
    schema = schema_of(kind)
    create_only = {path.removeprefix("/properties/") for path in schema.get("createOnlyProperties", ())}
    read_only = {path.removeprefix("/properties/") for path in schema.get("readOnlyProperties", ())}
    changeable = set(schema["properties"]) - create_only - read_only - {"Tags"}
    assert (not changeable) == (kind in IMMUTABLE_KINDS)
