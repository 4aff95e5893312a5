"""The OpenAPI document of the routes that no framework describes: hot routes and pages."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from llm_deploy.gateway import fields
from llm_deploy.gateway.generations import HOT_ROUTES, HotRoute

_Document = dict[str, Any]

_BODIES: Final = {
    "chat": ("ChatCompletionRequest", fields.CHAT),
    "completion": ("CompletionRequest", fields.COMPLETION),
    "embeddings": ("EmbeddingRequest", fields.EMBEDDINGS),
    "generate": ("GenerateRequest", fields.GENERATE),
}
_ANSWERS: Final = {
    "chat": "ChatCompletion",
    "completion": "Completion",
    "embeddings": "EmbeddingList",
    "generate": "GenerateAnswer",
}
_SUMMARIES: Final = {
    "/v1/chat/completions": "Answer a conversation",
    "/v1/completions": "Continue a prompt",
    "/v1/embeddings": "Turn texts into vectors",
    "/generate": "Continue a prompt, as TGI does",
    "/generate_stream": "Continue a prompt token by token, as TGI does",
}
_REASONS: Final = {
    "400": "The request is wrong; sending it again would be refused again.",
    "401": "No API key, or one that is unknown, expired or revoked.",
    "403": "The API key is not good for this.",
    "404": "There is no such model.",
    "405": "The path takes another method.",
    "408": "The body did not arrive in the time allowed.",
    "413": "The body is too large.",
    "422": "The request is wrong.",
    "429": "Too many requests or tokens; Retry-After says when to come again.",
    "500": "The gateway failed.",
    "502": "The model failed.",
    "503": "No backend can answer now, or the gateway is shutting down.",
    "504": "The answer took too long.",
}


EVENTS: Final[_Document] = {
    "description": "Server-sent events.",
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}


def document(*, keys: bool, models: Mapping[str, int] | None = None) -> _Document:
    """The whole document. `components.x-errors` holds the responses of refusals, for routes that are added.

    Args:
        keys: Whether API keys are asked for.
        models: Names that requests may say, as examples, and how many tokens each generates at most.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "llm_deploy gateway", "version": version("llm-deploy")},
        "paths": {**{path: {"post": _hot(route)} for path, route in HOT_ROUTES.items()}, **_pages()},
        "components": {
            "schemas": _schemas(models or {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "x-errors": _errors("Error"),
        },
        **({"security": [{"key": []}]} if keys else {}),
    }


def _hot(route: HotRoute) -> _Document:
    name, _ = _BODIES[route.kind]
    content: _Document = {"application/json": {"schema": _ref(_ANSWERS[route.kind])}}
    if route.stream is not False:
        content["text/event-stream"] = {"schema": EVENTS}
    if route.stream:
        del content["application/json"]
    error = "GenerateError" if route.style == "tgi" else "Error"
    return {
        "operationId": route.path.strip("/").replace("/", "_"),
        "summary": _SUMMARIES[route.path],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(name)}}},
        "responses": {"200": _response("The answer.", content), **_errors(error)},
    }


def _pages() -> _Document:
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    ready = {"200": _told("Some model can be asked.", "Readiness"), "503": _told("None can, or it ends.", "Readiness")}
    text = _response("Counters.", {"text/plain": {"schema": {"type": "string"}}})
    refused = {status: _errors("Error")[status] for status in ("401", "403", "405", "503")}
    one = {**_get("model", "One model", {"200": _told("The model.", "Model"), **refused}), "parameters": [name]}
    one["responses"]["404"] = _errors("Error")["404"]
    wrong = {"405": _errors("Error")["405"]}
    pages = {
        "/v1/models": _get("models", "The models of this key", {"200": _told("They.", "ModelList"), **refused}),
        "/v1/models/{model}": one,
        "/healthz": _get("healthz", "Is the process alive", {"200": _told("It is.", "Health"), **wrong}),
        "/readyz": _get("readyz", "May it be sent requests", {**ready, **wrong}),
        "/metrics": _get("metrics", "Counters for Prometheus", {"200": text, **wrong}),
    }
    for path in ("/healthz", "/readyz", "/metrics"):
        pages[path]["security"] = []
    return {path: {"get": operation} for path, operation in pages.items()}


def _get(operation: str, summary: str, responses: _Document) -> _Document:
    return {"operationId": operation, "summary": summary, "responses": responses}


def _errors(schema: str) -> _Document:
    return {status: _told(reason, schema) for status, reason in _REASONS.items()}


def _told(description: str, schema: str) -> _Document:
    return _response(description, {"application/json": {"schema": _ref(schema)}})


def _response(description: str, content: _Document) -> _Document:
    return {"description": description, "content": content}


def _ref(name: str) -> _Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: _Document) -> _Document:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _request(table: fields.Fields, models: Mapping[str, int]) -> _Document:
    found = fields.schema(table)
    if models:
        found["properties"]["model"]["examples"] = list(models)
        _bound(found["properties"], max(models.values()))
    return found


def _bound(properties: _Document, most_tokens: int) -> None:
    """What no model generates is no valid request."""
    inner = properties.get("parameters", {}).get("anyOf", [{}])[0].get("properties", {})
    for name in ("max_tokens", "max_completion_tokens", "max_new_tokens"):
        for found in (properties, inner):
            if name in found:
                integer, null = found[name]["anyOf"]
                found[name] = {"anyOf": [{**integer, "maximum": most_tokens}, null]}


def _schemas(models: Mapping[str, int]) -> _Document:
    text: _Document = {"type": "string"}
    whole: _Document = {"type": "integer"}
    anything: _Document = {"type": "object"}
    nullable_text = {"type": ["string", "null"]}
    usage = _object(prompt_tokens=whole, total_tokens=whole)
    answer = {"id": text, "created": whole, "model": text, "choices": {"type": "array", "items": anything}}
    model = _object(id=text, object={"const": "model"}, created=whole, owned_by=text)
    vector = _object(object={"const": "embedding"}, index=whole, embedding={})
    failure = _object(message=text, type=text, param=nullable_text, code=nullable_text)
    return {
        **{name: _request(table, models) for name, table in _BODIES.values()},
        "ChatCompletion": _object(object={"const": "chat.completion"}, **answer),
        "Completion": _object(object={"const": "text_completion"}, **answer),
        "EmbeddingList": _object(
            object={"const": "list"}, data={"type": "array", "items": vector}, model=text, usage=usage
        ),
        "GenerateAnswer": {"type": "object", "properties": {"generated_text": text}, "required": ["generated_text"]},
        "Model": model,
        "ModelList": _object(object={"const": "list"}, data={"type": "array", "items": _ref("Model")}),
        "Error": _object(error=failure),
        "GenerateError": _object(error=text, error_type=text),
        "Health": _object(status=text),
        "Readiness": _object(status=text, models={"type": "object", "additionalProperties": {"type": "boolean"}}),
    }
