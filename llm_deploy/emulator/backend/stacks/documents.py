"""Properties of a template as requests of an API. Pure.

CloudFormation's property names are the request's members; only types are looser: a parameter is always a text.
"""

from __future__ import annotations

from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.protocol.model import ServiceModel, load

_INTEGERS = {"integer", "long"}
_FLOATS = {"float", "double"}


class PropertyError(Exception):
    """A property that the type does not have, or a value that is none of its type."""


def shaped(service: str, operation: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Properties with their values in the types of an operation's request.

    Raises:
        PropertyError: A property is no member of the request. Ledger: `cfn.extraneous-key`.
    """
    model = load(service)
    shape = model.input_shape(operation)
    found = _value(model, str(shape), properties, "#")
    if not isinstance(found, dict):
        raise PropertyError(ledger.text("cfn.wrong-type", path="#", expected="JSONObject"))
    return found


def _value(model: ServiceModel, shape: str, value: Any, path: str) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    described = model.shapes[shape]
    kind = described["type"]
    if kind == "structure":
        return _structure(model, described, value, path)
    if kind == "list":
        items = value if isinstance(value, list) else [value]
        inner = described["member"]["shape"]
        return [_value(model, inner, item, f"{path}/{position}") for position, item in enumerate(items)]
    if kind == "map" and isinstance(value, dict):
        inner = described["value"]["shape"]
        return {str(key): _value(model, inner, item, f"{path}/{key}") for key, item in value.items()}
    return _scalar(kind, value, path)


def _structure(model: ServiceModel, described: dict[str, Any], value: Any, path: str) -> dict[str, Any]:  # noqa: ANN401 - as above
    if not isinstance(value, dict):
        raise PropertyError(ledger.text("cfn.wrong-type", path=path, expected="JSONObject"))
    members = described["members"]
    for key in value:
        if key not in members:
            raise PropertyError(ledger.text("cfn.extraneous-key", path=path, key=key))
    return {key: _value(model, members[key]["shape"], item, f"{path}/{key}") for key, item in value.items()}


def _scalar(kind: str, value: Any, path: str) -> Any:  # noqa: ANN401 - as above
    try:
        if kind in _INTEGERS and not isinstance(value, bool):
            return int(value)
        if kind in _FLOATS and not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError) as error:
        raise PropertyError(ledger.text("cfn.wrong-type", path=path, expected="Number")) from error
    if kind == "boolean" and isinstance(value, str) and value in {"true", "false"}:
        return value == "true"
    if kind == "string" and isinstance(value, bool):
        return str(value).lower()
    if kind == "string" and isinstance(value, int | float):
        return str(value)
    return value
