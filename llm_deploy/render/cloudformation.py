"""A list of resources as a CloudFormation template. Pure.

    resources ── value by value ──▶ Resources        Ref → Fn::GetAtt, symbolic account → Fn::Sub
              ── what callers need ─▶ Outputs
              ── what is not known ─▶ Parameters
              ── where it fits ─────▶ Rules

A resource's document is in CloudFormation's casing already, so it is rendered as it is; `_KINDS` has the few kinds that
differ. Names stay texts: `Ref` of a SageMaker type is its ARN, and an inference component has no name to ask for. So
the order is `DependsOn`'s, where no reference implies it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml

from llm_deploy.resource import (
    ACCESS_KEY,
    ACCOUNT_OF_STACK,
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MANAGED_POLICY,
    PARTITION_OF_STACK,
    ROLE,
    SCALING_POLICY,
    SERVICE_LINKED_ROLE,
    Parameter,
    Ref,
    Resource,
    tag_list,
)

Document = dict[str, Any]
_Found = TypeVar("_Found")

NEVER_RENDERED = frozenset({ACCESS_KEY, SERVICE_LINKED_ROLE})
"""The secret of an access key would stand in the stack's outputs, for everyone who may describe it. A service-linked
role is the account's: a stack fails where it exists already, and would remove it from under others."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind differs in CloudFormation.

    Attributes:
        taggable: Whether the type takes `Tags`.
        attributes: Our attribute's name to that of `Fn::GetAtt`, where they differ.
    """

    taggable: bool = True
    attributes: Mapping[str, str] = field(default_factory=dict)


_AS_IT_IS = _Kind()
_KINDS: Mapping[str, _Kind] = {
    MANAGED_POLICY: _Kind(taggable=False, attributes={"Arn": "PolicyArn"}),
    SCALING_POLICY: _Kind(taggable=False),
}

_PSEUDO = re.compile(rf"{re.escape(ACCOUNT_OF_STACK)}|{re.escape(PARTITION_OF_STACK)}")
_OTHER_BRACE = re.compile(rf"(?!{_PSEUDO.pattern})\$\{{")

_NOT_FOR_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may hold bare and YAML takes for a line break or refuses. cfn-lint reads JSON as YAML, others may too."""


def template(
    resources: Sequence[Resource],
    *,
    description: str = "",
    region: str | None = None,
    outputs: Mapping[str, Document] | None = None,
) -> Document:
    """The template of a list of resources, as plain data that JSON and YAML can hold.

    Args:
        resources: Any kinds; those of `NEVER_RENDERED` are left out (`left_out` names them).
        description: For people who look at the stack; CloudFormation takes 1024 bytes.
        region: The only one that the documents are for; a stack anywhere else is then refused before anything is made.
        outputs: The `Outputs` section; by default what `outputs_of` finds.
    """
    rendered = [resource for resource in resources if resource.kind not in NEVER_RENDERED]
    kinds = {resource.id: resource.kind for resource in rendered}
    found: Document = {"AWSTemplateFormatVersion": "2010-09-09"}
    if description:
        found["Description"] = description
    if parameters := {parameter.name: _declaration(parameter) for parameter in _parameters(rendered)}:
        found["Parameters"] = parameters
    if region is not None:
        found["Rules"] = {"Region": _only_in(region)}
    found["Resources"] = {resource.id: _resource(resource, kinds) for resource in rendered}
    if said := outputs_of(rendered) if outputs is None else _value(outputs, kinds):
        found["Outputs"] = said
    return found


def stack_name(deployment: str) -> str:
    """The stack of a deployment; its own name may begin with a digit, which a stack's may not.

    By what all begin with, policies can be made for stacks of ours alone.
    """
    return f"llmdeploy-{deployment}"


def left_out(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """What a template does not hold although it is wanted."""
    return tuple(resource for resource in resources if resource.kind in NEVER_RENDERED)


def outputs_of(resources: Iterable[Resource]) -> Document:
    """What those who call or watch a deployment need to know, by the kinds that are there."""
    return {name: said for resource in resources for name, said in _outputs(resource)}


def to_json(document: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """The template as JSON; without an indent as short as it gets, for CloudFormation's limit of 51,200 bytes."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(document, indent=indent, separators=separators, ensure_ascii=False)
    return _NOT_FOR_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_yaml(document: Mapping[str, Any]) -> str:
    """The template as YAML with intrinsic functions in their long form, which every YAML reader takes."""
    # By way of JSON no object stands twice, which PyYAML would write as an alias; CloudFormation refuses aliases.
    plain = json.loads(to_json(document))
    # Letters beyond ASCII are escaped: PyYAML writes some of them (U+0085) so that it reads others.
    return yaml.safe_dump(plain, sort_keys=False, default_flow_style=False, width=120)


def _resource(resource: Resource, kinds: Mapping[str, str]) -> Document:
    properties = _value(resource.properties, kinds)
    if resource.tags and _KINDS.get(resource.kind, _AS_IT_IS).taggable:
        properties["Tags"] = tag_list(resource.tags)
    found: Document = {"Type": resource.kind, "Properties": properties}
    implied = {ref.resource for ref in _instances(resource.properties, Ref)}
    # cfn-lint's W3005: what a reference implies is not said twice. The order is the CDK's.
    if explicit := sorted(needed for needed in resource.depends_on if needed in kinds and needed not in implied):
        found["DependsOn"] = explicit
    return found


def _value(value: Any, kinds: Mapping[str, str]) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    if isinstance(value, Mapping):
        return {key: _value(item, kinds) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, kinds) for item in value]
    if isinstance(value, Ref | Parameter):
        return _reference(value, kinds)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # as every JSON writer but Python's has it, the CDK's among them
    return _text(value) if isinstance(value, str) else value


def _reference(value: Ref | Parameter, kinds: Mapping[str, str]) -> Document:
    if isinstance(value, Parameter):
        return {"Ref": value.name}
    attributes = _KINDS.get(kinds[value.resource], _AS_IT_IS).attributes
    return {"Fn::GetAtt": [value.resource, attributes.get(value.attribute, value.attribute)]}


def _text(text: str) -> str | Document:
    """A text as it is, or with references in place of a symbolic account and partition."""
    if _PSEUDO.fullmatch(text):
        return {"Ref": text[2:-1]}
    if _PSEUDO.search(text):
        return {"Fn::Sub": _OTHER_BRACE.sub("${!", text)}
    return text


def _parameters(resources: Iterable[Resource]) -> Iterator[Parameter]:
    for resource in resources:
        yield from _instances(resource.properties, Parameter)


def _instances(value: object, kind: type[_Found]) -> Iterator[_Found]:
    """Every value of a class, however deep in a document."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, Mapping):
        yield from (found for item in value.values() for found in _instances(item, kind))
    elif isinstance(value, list | tuple):
        yield from (found for item in value for found in _instances(item, kind))


def _declaration(parameter: Parameter) -> Document:
    return {"Type": "String", "Description": parameter.description, "AllowedPattern": parameter.pattern}


def _only_in(region: str) -> Document:
    said = f"This template is for {region}: images and policies name it. Render one for this region."
    return {"Assertions": [{"Assert": {"Fn::Equals": [{"Ref": "AWS::Region"}, region]}, "AssertDescription": said}]}


def _outputs(resource: Resource) -> Iterator[tuple[str, Document]]:
    """`Ref` of SageMaker's types is the ARN."""
    if resource.kind == ENDPOINT:
        yield "EndpointName", _output("What clients call.", {"Fn::GetAtt": [resource.id, "EndpointName"]})
        yield "EndpointArn", _output("For policies that allow to call it.", {"Ref": resource.id})
        yield "InvokeUrl", _output("For signed HTTP requests.", {"Fn::Sub": _invoke_url(resource)})
    elif resource.kind == ENDPOINT_CONFIG:
        config_name = {"Fn::GetAtt": [resource.id, "EndpointConfigName"]}
        yield "EndpointConfigName", _output("The generation in use.", config_name)
    elif resource.kind == INFERENCE_COMPONENT:
        yield f"{resource.id}Name", _output("What clients name beside the endpoint.", resource.name)
    elif resource.kind == ROLE:
        yield f"{resource.id}Arn", _output(resource.purpose or resource.name, {"Fn::GetAtt": [resource.id, "Arn"]})


def _output(description: str, value: object) -> Document:
    return {"Description": description, "Value": value}


def _invoke_url(endpoint: Resource) -> str:
    """Source: botocore's endpoint rules of sagemaker-runtime, and the path of InvokeEndpoint."""
    host = "runtime.sagemaker.${AWS::Region}.${AWS::URLSuffix}"
    return f"https://{host}/endpoints/${{{endpoint.id}.EndpointName}}/invocations"
