"""AWS's query protocol, seen from the server: a form comes in, XML goes out; botocore's model says what is what.

boto3 speaks JSON to CloudWatch nowadays; older SDKs and some tools still send forms.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from llm_deploy.emulator.app import MAX_JSON_BYTES, refuse_xml, request_id
from llm_deploy.emulator.http import BodyTooLargeError, Request
from llm_deploy.emulator.protocol.model import ServiceModel, load
from llm_deploy.emulator.protocol.validate import WrongTypeError, check_input, check_output
from llm_deploy.emulator.service import Call, Cloud, JsonService, ServiceError, not_implemented
from llm_deploy.emulator.store import Document

MAX_FORM_FIELDS = 20_000
_INTEGERS = {"integer", "long"}
_FLOATS = {"float", "double"}


async def answer_query(cloud: Cloud, service: JsonService, request: Request) -> None:
    """Answer one request of the query protocol with the handlers of a JSON service."""
    try:
        identity, body = await _handle(cloud, service, request)
    except ServiceError as error:
        await refuse_xml(request, error, wrapped=True)
        return
    await request.respond(200, body.encode(), [("content-type", "text/xml"), ("x-amzn-requestid", identity)])


async def _handle(cloud: Cloud, service: JsonService, request: Request) -> tuple[str, str]:
    model = load(service.model)
    form = await _read_form(request)
    operation = form.pop("Action", "")
    if operation not in model.operations:
        raise ServiceError("InvalidAction", f"Could not find operation {operation}.")
    handler = service.operations.get(operation)
    if handler is None:
        raise not_implemented(cloud, f"{service.model}:{operation}")
    shape = model.input_shape(operation)
    params = parse(model, shape, form) if shape else {}
    try:
        problem = check_input(model, shape, params) if shape else None
    except WrongTypeError as error:
        raise ServiceError("MalformedInput", str(error)) from error
    if problem:
        raise ServiceError("ValidationError", problem)
    cloud.gate.authorise(request, service.model, operation, params)
    answer = await handler(Call(operation, params))
    check_output(model, model.output_shape(operation), answer)
    identity = request_id()
    return identity, render(model, operation, answer, identity)


async def _read_form(request: Request) -> dict[str, str]:
    try:
        raw = await request.body(MAX_JSON_BYTES)
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except BodyTooLargeError as error:
        raise ServiceError("RequestEntityTooLarge", "The request is too large.", status=413) from error
    except ValueError as error:
        raise ServiceError("MalformedQueryString", "The request is no form.") from error
    return dict([*parse_qsl(request.query_string, keep_blank_values=True), *pairs])


def parse(model: ServiceModel, shape: str, form: dict[str, str]) -> Document:
    """The document that a form spells: `MetricData.member.1.Value=2` becomes `{"MetricData": [{"Value": 2.0}]}`."""
    tree: Document = {}
    for key, value in form.items():
        node = tree
        *parents, last = key.split(".")
        for part in parents:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise ServiceError("MalformedInput", f"{key} is given twice.")
            node = child
        node[last] = value
    parsed = _typed(model, shape, tree, shape)
    assert isinstance(parsed, dict)  # noqa: S101 - an input shape is a structure
    return parsed


def _typed(model: ServiceModel, shape: str, node: Any, path: str) -> Any:  # noqa: ANN401 - text or tree in, value out
    described = model.shapes[shape]
    kind = described["type"]
    if kind in {"structure", "list", "map"} and not isinstance(node, dict):
        if kind == "list" and node == "":
            return []
        raise ServiceError("MalformedInput", f"{path} must be a {kind}.")
    if kind == "structure":
        members = described["members"]
        return {name: _typed(model, members[name]["shape"], node[name], name) for name in node if name in members}
    if kind == "list":
        items = node.get("member", node)
        return [_typed(model, described["member"]["shape"], items[index], path) for index in _in_order(items, path)]
    if kind == "map":
        entries = node.get("entry", node)
        pairs = [entries[index] for index in _in_order(entries, path)]
        value_shape = described["value"]["shape"]
        return {pair["key"]: _typed(model, value_shape, pair.get("value", ""), path) for pair in pairs}
    return _scalar(kind, node, path)


def _in_order(items: Any, path: str) -> list[str]:  # noqa: ANN401 - what a form may hold
    if not isinstance(items, dict) or not all(index.isdigit() for index in items):
        raise ServiceError("MalformedInput", f"{path} must be a list.")
    return sorted(items, key=int)


def _scalar(kind: str, text: Any, path: str) -> Any:  # noqa: ANN401 - as above
    if not isinstance(text, str):
        raise ServiceError("MalformedInput", f"{path} must be a {kind}.")
    try:
        if kind in _INTEGERS:
            return int(text)
        if kind in _FLOATS:
            return float(text)
        if kind == "timestamp":
            return epoch(text)
    except ValueError as error:
        raise ServiceError("MalformedInput", f"{path}: {text!r} is no {kind}.") from error
    return text.lower() == "true" if kind == "boolean" else text


def epoch(moment: str | float) -> float:
    """Seconds since the epoch, of a number or of ISO 8601.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(moment, str):
        parsed = datetime.fromisoformat(moment)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    return float(moment)


def render(model: ServiceModel, operation: str, answer: Document, identity: str) -> str:
    """The XML of an answer."""
    namespace = model.metadata["xmlNamespace"]
    shape = model.output_shape(operation)
    result = f"<{operation}Result>{_xml(model, shape, answer)}</{operation}Result>" if shape else ""
    metadata = f"<ResponseMetadata><RequestId>{identity}</RequestId></ResponseMetadata>"
    return f'<{operation}Response xmlns="{namespace}">{result}{metadata}</{operation}Response>'


def _xml(model: ServiceModel, shape: str, value: Any) -> str:  # noqa: ANN401 - a JSON value
    described = model.shapes[shape]
    kind = described["type"]
    if kind == "structure":
        members = described["members"]
        return "".join(f"<{name}>{_xml(model, members[name]['shape'], item)}</{name}>" for name, item in value.items())
    if kind == "list":
        return "".join(f"<member>{_xml(model, described['member']['shape'], item)}</member>" for item in value)
    if kind == "map":
        inner = described["value"]["shape"]
        entries = ((escape(key), _xml(model, inner, item)) for key, item in value.items())
        return "".join(f"<entry><key>{key}</key><value>{item}</value></entry>" for key, item in entries)
    if kind == "timestamp":
        return datetime.fromtimestamp(float(value), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value).lower() if kind == "boolean" else escape(str(value))
