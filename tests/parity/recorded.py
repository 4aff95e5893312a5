"""What our managers send for a list of resources, mapped back to documents; and a template with everything filled in.

No cloud is asked: botocore checks each request against its model and then gets an empty answer from a hook.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from llm_deploy.aws import Session
from llm_deploy.deploy.inventory import Managers
from llm_deploy.resource import (
    ACCESS_KEY,
    ALARM,
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MANAGED_POLICY,
    MODEL,
    ROLE,
    SCALABLE_TARGET,
    SCALING_POLICY,
    USER,
    Ref,
    Resource,
    tag_list,
)
from llm_deploy.targets.sagemaker.managers import hosting_managers, identity_managers
from tests.clients.programs.recorder import record
from tests.parity.examples import ACCOUNT, LITERAL, REGION

Document = dict[str, Any]
Found = dict[tuple[str, str], Document]
"""Documents by kind and physical name."""
SERVICES = ("sagemaker", "application-autoscaling", "cloudwatch", "iam")
PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::URLSuffix": "amazonaws.com"}


def arn_of(kind: str, name: str) -> str:
    """The ARN of an object in the account of the tests; only references need it, and both sides get the same."""
    what = {ROLE: "role", MANAGED_POLICY: "policy", USER: "user"}.get(kind, kind)
    return f"arn:aws:iam::{ACCOUNT}:{what}/{name}"


def requests_for(resources: Sequence[Resource]) -> list[Document]:
    """What is sent to make these, in order: service, operation, request."""
    sent: list[Document] = []
    managers = managers_that_record(sent)
    arns = {resource.id: arn_of(resource.kind, resource.name) for resource in resources}
    for resource in resources:
        if resource.kind != ACCESS_KEY:
            managers[resource.kind].create(_with_arns(resource, arns))
    return sent


def managers_that_record(sent: list[Document]) -> Managers:
    """Every manager that there is, with no cloud behind it; what is sent that changes something is appended."""
    session = Session(region=REGION, access_key="AKIAIOSFODNN7EXAMPLE", secret_key="none")
    for service in SERVICES:
        events = session.client(service).meta.events
        record(events, sent)
        events.register("before-call.*.*", _empty_answer)
    return {**hosting_managers(session), **identity_managers(session, LITERAL, lambda *_: None)}


def _empty_answer(model: Any, **_: object) -> tuple[SimpleNamespace, Document]:  # noqa: ANN401 - botocore ships no types
    """An answer with every list of the output shape, empty."""
    members = model.output_shape.members if model.output_shape else {}
    lists: Document = {name: [] for name, shape in members.items() if shape.type_name == "list"}
    return SimpleNamespace(status_code=200), lists


def _with_arns(resource: Resource, arns: Mapping[str, str]) -> Resource:
    return replace(resource, properties=_filled(resource.properties, arns))


def _filled(value: Any, arns: Mapping[str, str]) -> Any:  # noqa: ANN401 - a document's values are of any type
    if isinstance(value, Ref):
        return arns[value.resource]
    if isinstance(value, Mapping):
        return {key: _filled(item, arns) for key, item in value.items()}
    return [_filled(item, arns) for item in value] if isinstance(value, list | tuple) else value


def _same(kind: str, name: str) -> Callable[[Document, Found], None]:
    """A request that is the document, named by one of its members."""

    def put(request: Document, found: Found) -> None:
        found[kind, request[name]] = dict(request)

    return put


def _target(request: Document, found: Found) -> None:
    tags = {"Tags": tag_list(request["Tags"])} if "Tags" in request else {}
    found[SCALABLE_TARGET, request["ResourceId"]] = {**request, **tags}


def _policy_of_scaling(request: Document, found: Found) -> None:
    found[SCALING_POLICY, f"{request['ResourceId']}|{request['PolicyName']}"] = dict(request)


def _role(request: Document, found: Found) -> None:
    trust = json.loads(request["AssumeRolePolicyDocument"])
    found[ROLE, request["RoleName"]] = {**request, "AssumeRolePolicyDocument": trust}


def _role_policy(request: Document, found: Found) -> None:
    policy = {"PolicyName": request["PolicyName"], "PolicyDocument": json.loads(request["PolicyDocument"])}
    found[ROLE, request["RoleName"]].setdefault("Policies", []).append(policy)


def _attached(kind: str, name: str) -> Callable[[Document, Found], None]:
    def put(request: Document, found: Found) -> None:
        found[kind, request[name]].setdefault("ManagedPolicyArns", []).append(request["PolicyArn"])

    return put


def _managed_policy(request: Document, found: Found) -> None:
    document = {key: value for key, value in request.items() if key not in {"PolicyName", "Tags"}}
    document |= {
        "ManagedPolicyName": request["PolicyName"],
        "PolicyDocument": json.loads(request["PolicyDocument"]),
    }
    found[MANAGED_POLICY, request["PolicyName"]] = document


BACK: Mapping[str, Callable[[Document, Found], None]] = {
    "CreateModel": _same(MODEL, "ModelName"),
    "CreateEndpointConfig": _same(ENDPOINT_CONFIG, "EndpointConfigName"),
    "CreateEndpoint": _same(ENDPOINT, "EndpointName"),
    "CreateInferenceComponent": _same(INFERENCE_COMPONENT, "InferenceComponentName"),
    "RegisterScalableTarget": _target,
    "PutScalingPolicy": _policy_of_scaling,
    "PutMetricAlarm": _same(ALARM, "AlarmName"),
    "CreateRole": _role,
    "PutRolePolicy": _role_policy,
    "AttachRolePolicy": _attached(ROLE, "RoleName"),
    "CreatePolicy": _managed_policy,
    "CreateUser": _same(USER, "UserName"),
    "AttachUserPolicy": _attached(USER, "UserName"),
}
"""Each operation, and what of a document its request is."""


def mapped_back(sent: Sequence[Document]) -> Found:
    """Requests as documents, by kind and physical name."""
    found: Found = {}
    for each in sent:
        BACK[each["operation"]](each["request"], found)
    return {key: _plain(document) for key, document in found.items()}


def filled_in(template: Document, resources: Sequence[Resource]) -> Found:
    """A template's properties as CloudFormation would send them, by kind and physical name.

    Less what only an update sends: `RetainAllVariantProperties`.
    """
    names = {resource.id: resource.name for resource in resources}
    arns = {resource.id: arn_of(resource.kind, resource.name) for resource in resources}
    found = {}
    for logical_id, resource in template["Resources"].items():
        properties = _evaluated(resource.get("Properties", {}), arns)
        properties.pop("RetainAllVariantProperties", None)
        found[resource["Type"], names[logical_id]] = properties
    return found


def _evaluated(value: Any, arns: Mapping[str, str]) -> Any:  # noqa: ANN401 - a document's values are of any type
    if isinstance(value, list):
        return [_evaluated(item, arns) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"}:
        return PSEUDO[value["Ref"]]
    if value.keys() == {"Fn::GetAtt"}:
        assert value["Fn::GetAtt"][1] in {"Arn", "PolicyArn"}
        return arns[value["Fn::GetAtt"][0]]
    if value.keys() == {"Fn::Sub"}:
        return re.sub(r"\$\{(!?)([^}]*)\}", lambda m: f"${{{m[2]}}}" if m[1] else PSEUDO[m[2]], value["Fn::Sub"])
    return {key: _evaluated(item, arns) for key, item in value.items()}


def _plain(document: Document) -> Document:
    """As JSON has it: whole numbers whole, tuples as lists."""
    plain: Document = json.loads(json.dumps(document), parse_float=lambda text: _number(float(text)))
    return plain


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value
