"""Templates as change sets take them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import short_kind
from llm_deploy.errors import SpecError
from llm_deploy.render import cloudformation
from llm_deploy.resource import SCALABLE_TARGET, SCALING_POLICY, Resource

LIMIT_BYTES = 51_200
"""What CreateChangeSet takes as a text. Source: CloudFormation API reference, TemplateBody."""
KEPT_BY_IMPORT = "RetainExceptOnCreate"
"""The deletion policy that an import asks for; the update after it takes it away again.
Source: CloudFormation user guide, import resources."""
TARGET_IDENTIFIER = ("ResourceId", "ScalableDimension", "ServiceNamespace")


def template_text(resources: Sequence[Resource], description: str) -> str:
    """The template of a deployment. Raises SpecError when CloudFormation would not take its length."""
    return _text(cloudformation.template(resources, description=description))


def import_text(resources: Sequence[Resource]) -> str:
    """What CloudFormation takes for an import: no outputs, and a deletion policy on everything."""
    template = cloudformation.template(resources, outputs={})
    kept = {name: {**each, "DeletionPolicy": KEPT_BY_IMPORT} for name, each in template["Resources"].items()}
    return _text({**template, "Resources": kept})


def identified(resource: Resource, found: Found) -> dict[str, Any]:
    """A resource as an import names it. Source: registry schemas, primaryIdentifier."""
    if resource.kind == SCALABLE_TARGET:
        identifier = {name: str(resource.properties[name]) for name in TARGET_IDENTIFIER}
    elif resource.kind == SCALING_POLICY:
        identifier = {"Arn": found.attributes["Arn"], "ScalableDimension": resource.properties["ScalableDimension"]}
    else:
        identifier = {f"{short_kind(resource.kind)}Arn": found.attributes["Arn"]}
    return {"ResourceType": resource.kind, "LogicalResourceId": resource.id, "ResourceIdentifier": identifier}


def _text(template: Mapping[str, Any]) -> str:
    text = cloudformation.to_json(template, indent=None)
    size = len(text.encode())
    if size > LIMIT_BYTES:
        raise SpecError(
            f"the template of this deployment has {size:,} bytes; CloudFormation takes {LIMIT_BYTES:,}.",
            hint="Shorten `environment` and `tags`, which are most of it, or deploy without --via.",
        )
    return text
