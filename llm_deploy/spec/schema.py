"""The JSON schema of a spec's file, for editors; and nothing but what the loader takes."""

from __future__ import annotations

from typing import Any

from llm_deploy.spec.documents import DeploymentSpec
from llm_deploy.spec.fields import HUB_ID_PATTERN, INSTANCE_PATTERN, REVISION_PATTERN, S3_PREFIX_PATTERN
from llm_deploy.spec.load import FROM_ENV

_TEXTS = {"type": ["string", "number", "boolean", "null"]}
_HUB_WITH_REVISION = f"{HUB_ID_PATTERN[:-1]}(@{REVISION_PATTERN[1:-1]})?$"


def json_schema() -> dict[str, Any]:
    """The schema of a deployment's file: the documents', the short forms, and `from_env`."""
    schema = DeploymentSpec.model_json_schema(mode="validation")
    properties = schema["properties"]
    _take_short_form(properties["model"], _HUB_WITH_REVISION, S3_PREFIX_PATTERN)
    _take_short_form(properties["instance"], INSTANCE_PATTERN)
    for name in ("environment", "tags"):
        properties[name]["additionalProperties"] = dict(_TEXTS)
    properties[FROM_ENV] = {
        "type": "boolean",
        "default": False,
        "description": "Take what this file leaves out from the variables of .env (HF_MODEL_ID, GPUS, ...).",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_titles(schema), "title": "Deployment"}


def _take_short_form(node: dict[str, Any], *patterns: str) -> None:
    """Let a field be a text beside what it is."""
    node.pop("discriminator", None)
    choices = node.pop("oneOf", None) or [{"$ref": node.pop("$ref")}]
    node["anyOf"] = [*({"type": "string", "pattern": pattern} for pattern in patterns), *choices]


def _without_titles(node: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Pydantic titles every field with its own name, which only makes the file longer."""
    if isinstance(node, dict):
        return {key: _without_titles(value) for key, value in node.items() if key != "title" or isinstance(value, dict)}
    return [_without_titles(item) for item in node] if isinstance(node, list) else node
