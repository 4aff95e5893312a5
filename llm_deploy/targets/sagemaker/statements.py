"""Policy documents from the templates in `data/`. Pure: a scope in, statements out.

The templates are the one source of every policy: the roles of `create-roles` fill them with a prefix,
`llmdeploy policy` with the exact names of one deployment. They are checked against the service authorization
reference; `policies.yaml` says what each statement is for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources as files
from string import Template
from typing import Any

import yaml

from llm_deploy.spec import Place

Document = dict[str, Any]

MANAGED_POLICY_CHARACTERS = 6144
INLINE_POLICY_CHARACTERS = 10_240
"""AWS's limits of one managed policy and of a role's inline ones together, white space not counted.

Source: IAM user guide, "IAM and AWS STS quotas".
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a policy is about.

    Attributes:
        prefix: What names begin with that may be read.
        endpoint, config, model, component: Patterns of names that may be changed; `*` stands for anything. Without
            a component, nothing is said of components.
        deployment: Pattern of the ownership tag's value.
        execution_role_arn: The role that may be passed to SageMaker.
        repositories: ARNs of the image repositories that containers come from.
        model_bucket, model_prefix: Where own weights lie, when they do.
        kms_key: A key's id or ARN. No alias: IAM does not grant by alias.
        subnet_ids, security_group_ids: Those of the VPC.
    """

    place: Place
    prefix: str
    endpoint: str
    config: str
    model: str
    component: str | None
    deployment: str
    execution_role_arn: str
    repositories: tuple[str, ...] = ()
    model_bucket: str | None = None
    model_prefix: str = ""
    kms_key: str | None = None
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()


def statements(name: str, scope: Scope) -> list[Document]:
    """The statements of a template, filled in."""
    filled: list[Document] = template(name, _placeholders(scope))["Statement"]
    return [statement for statement in filled if statement["Resource"]]


def template(name: str, placeholders: Mapping[str, Sequence[str]]) -> Document:
    """A template of `data/` with its placeholders filled in, each with one value or several."""
    filled: Document = _filled(json.loads(_text(f"{name}.json")), placeholders)
    return filled


def policy(found: Iterable[Document]) -> Document:
    """A policy document of these statements."""
    return {"Version": "2012-10-17", "Statement": list(found)}


def characters(document: Mapping[str, Any]) -> int:
    """The size of a document as IAM counts it."""
    return len(json.dumps(document, separators=(",", ":")))


def purpose(name: str) -> str:
    """What a template is for, in a few words."""
    return str(_said()[name]["purpose"])


def needs(name: str) -> Mapping[str, str]:
    """What each statement of a template is needed for, by its Sid."""
    found: Mapping[str, str] = _said()[name]["statements"]
    return found


@cache
def _said() -> Mapping[str, Document]:
    found: Mapping[str, Document] = yaml.safe_load(_text("policies.yaml"))
    return found


def _text(name: str) -> str:
    return files.files(__package__).joinpath("data", name).read_text("utf-8")


def _filled(value: Any, placeholders: Mapping[str, Sequence[str]]) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    """Placeholders replaced inside strings of the parsed document, so that no value can change its structure.

    A string of a list whose placeholder has several values becomes as many strings, or none.
    """
    if isinstance(value, str):
        return Template(value).substitute({name: values[0] for name, values in placeholders.items() if values})
    if isinstance(value, list):
        return [_filled(item, choice) for item in value for choice in _choices(item, placeholders)]
    if isinstance(value, dict):
        return {_filled(key, placeholders): _filled(item, placeholders) for key, item in value.items()}
    return value


def _choices(item: object, placeholders: Mapping[str, Sequence[str]]) -> Iterable[Mapping[str, Sequence[str]]]:
    """The placeholders once for each value of the one in the string that has several, or none."""
    named = Template(item).get_identifiers() if isinstance(item, str) else []
    several = next((name for name in named if len(placeholders[name]) != 1), None)
    if several is None:
        return [placeholders]
    return [{**placeholders, several: [value]} for value in placeholders[several]]


def _placeholders(scope: Scope) -> dict[str, Sequence[str]]:
    names = {
        "Prefix": scope.prefix,
        "Endpoint": scope.endpoint,
        "Config": scope.config,
        "Model": scope.model,
        "Component": scope.component or "",
    }
    place = scope.place
    return {
        **{placeholder: _in_arns(name) for placeholder, name in names.items()},
        "ComponentLog": [scope.component] if scope.component else [],
        # `logs` works after a deletion, when nobody can say any more whether there was a component.
        "ReadLog": list(dict.fromkeys([scope.endpoint, scope.component or scope.endpoint])),
        "Partition": [place.partition],
        "Region": [place.region],
        "Account": [place.account],
        "EndpointLog": [scope.endpoint],
        "Deployment": [scope.deployment],
        "ExecutionRole": [scope.execution_role_arn],
        "Repository": scope.repositories,
        "ModelBucket": [scope.model_bucket or ""],
        "ModelPrefix": [scope.model_prefix],
        "KeyArn": [_key_arn(scope)],
        "SubnetId": scope.subnet_ids,
        "SecurityGroupId": scope.security_group_ids,
    }


def _in_arns(name: str) -> list[str]:
    """A name as it stands in SageMaker's ARNs, which AWS writes in lower case; as it is, too, for where it does not."""
    return list(dict.fromkeys([name.lower(), name])) if name else []


def _key_arn(scope: Scope) -> str:
    key, place = scope.kms_key or "", scope.place
    return key if key.startswith("arn:") else f"arn:{place.partition}:kms:{place.region}:{place.account}:key/{key}"
