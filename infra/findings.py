"""cdk-nag's findings that are as they should be, each with its reason: `findings.yaml`.

A wildcard that no reason covers is not acknowledged, so that a check of the app fails on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import yaml
from aws_cdk.cloudformation_include import CfnInclude

from llm_deploy.resource import MANAGED_POLICY, ROLE, Resource

REASONS = Path(__file__).parent / "findings.yaml"
RULE = "AwsSolutions::AwsSolutions-IAM5"
_SYMBOL = re.compile(r"\$\{([^}]*)\}")


def acknowledge(included: CfnInclude, resources: Iterable[Resource]) -> None:
    """Acknowledge the wildcards of the deployment's policies that have a reason."""
    reasons = {re.compile(pattern): reason for pattern, reason in _reasons().items()}
    for resource in resources:
        found = [
            cdk.Acknowledgment(id=f"{RULE}[Resource::{_shown(wildcard)}]", reason=reason)
            for wildcard in sorted(set(_wildcards(resource)))
            for pattern, reason in reasons.items()
            if pattern.search(_SYMBOL.sub("any", wildcard))
        ]
        if found:
            cdk.Validations.of(included.get_resource(resource.id)).acknowledge(*found)


def _reasons() -> Mapping[str, str]:
    found: Mapping[str, str] = yaml.safe_load(REASONS.read_text("utf-8"))["wildcards"]
    return found


def _wildcards(resource: Resource) -> Iterator[str]:
    """Resources with a `*` in the policies of a role or a managed policy."""
    if resource.kind == MANAGED_POLICY:
        documents = [resource.properties["PolicyDocument"]]
    elif resource.kind == ROLE:
        documents = [policy["PolicyDocument"] for policy in resource.properties.get("Policies", ())]
    else:
        documents = []
    for document in documents:
        for statement in document["Statement"]:
            yield from (text for text in _listed(statement.get("Resource", [])) if "*" in text)


def _listed(value: Any) -> Iterable[str]:  # noqa: ANN401 - a text, or a list of texts and references
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _shown(text: str) -> str:
    """How cdk-nag writes references: `<AWS::Partition>`."""
    return _SYMBOL.sub(r"<\1>", text)
