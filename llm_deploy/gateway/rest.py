"""What is FastAPI's: `/rag`, `/docs` and `/openapi.json`. Requests of `/rag` come via the desk."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from llm_deploy.errors import LlmDeployError, NotFoundError
from llm_deploy.gateway import desk
from llm_deploy.gateway.openapi import EVENTS
from llm_deploy.gateway.refusals import Refusal, refusal

if TYPE_CHECKING:
    from llm_deploy.rag.service import RagAnswer, RagEvent, RagService

AT_WORK: Final = "llm_deploy.request"
"""Where the ASGI scope holds the desk's request."""


class QueryRequest(BaseModel):
    """A question to the documents."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=100_000, description="What is asked.")
    k: int | None = Field(None, ge=1, le=50, description="Passages that the answer is made from.")
    filters: dict[str, Any] | None = Field(None, description="What passages must have: {kind: markdown}.")
    stream: bool = Field(False, description="Answer as server-sent events: citations, tokens, done.")


class CitedPassage(BaseModel):
    """A passage that was in the prompt."""

    n: int = Field(description="Its number: [1] in the answer.")
    source: str
    title: str
    section: str
    page: int | None
    score: float
    text: str


class TokenUsage(BaseModel):
    """Tokens, as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class QueryResponse(BaseModel):
    """An answer from the documents."""

    answer: str
    citations: list[CitedPassage]
    usage: TokenUsage
    model: str
    queries: list[str] = Field(description="All wordings that were searched for.")
    filters: dict[str, Any] = Field(description="What the search was narrowed to.")
    notes: list[str] = Field(description="What went another way than it was configured.")
    finish_reason: str
    timings: dict[str, float] = Field(description="Seconds by step.")


def build(openapi: dict[str, Any], rag: RagService | None) -> FastAPI:
    """The application; `openapi` describes all routes that are not in it."""
    app = FastAPI(title="llm_deploy gateway", docs_url=None, redoc_url=None, openapi_url=None)
    if rag is not None:
        _add_rag(app, rag)
    document = _merged(app, openapi)

    @app.get("/openapi.json", include_in_schema=False)
    async def schema() -> JSONResponse:
        return JSONResponse(document)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="/openapi.json", title="llm_deploy gateway")

    app.add_exception_handler(LlmDeployError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return app


def _add_rag(app: FastAPI, rag: RagService) -> None:
    @app.post("/rag", operation_id="rag", summary="Answer a question from documents", response_model=QueryResponse)
    async def answer(query: QueryRequest, request: Request) -> Response:
        at_work: desk.Request = request.scope[AT_WORK]
        if query.stream:
            events = rag.stream(query.query, query.k, query.filters)
            first = await anext(events)  # a failure before it has its own status, as without a stream
            at_work.record.stream = True
            return StreamingResponse(_events(first, events, at_work), media_type="text/event-stream")
        found = await rag.answer(query.query, query.k, query.filters)
        _meter(at_work, found)
        return JSONResponse(_response(found).model_dump())


async def _events(first: RagEvent, events: AsyncGenerator[RagEvent], at_work: desk.Request) -> AsyncGenerator[bytes]:
    """`citations`, then `token`s, then `done` with the whole; `error` ends a stream that failed."""
    try:
        async with aclosing(events):
            yield _event("citations", {"citations": [asdict(each) for each in first.citations]})
            async for event in events:
                if event.kind == "token":
                    at_work.tally.events += 1
                    yield _event("token", {"text": event.text})
                elif event.answer is not None:
                    _meter(at_work, event.answer)
                    yield _event("done", _response(event.answer).model_dump())
    except LlmDeployError as error:
        told = refusal(error)
        at_work.record.refused = told.code
        yield _event("error", told.document())


def _event(name: str, document: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()


def _meter(at_work: desk.Request, answer: RagAnswer) -> None:
    at_work.tally.prompt_tokens = answer.usage.prompt
    at_work.tally.generated_tokens = answer.usage.generated


def _response(answer: RagAnswer) -> QueryResponse:
    prompt, generated = answer.usage.prompt or 0, answer.usage.generated or 0
    usage = TokenUsage(prompt_tokens=prompt, completion_tokens=generated, total_tokens=prompt + generated)
    return QueryResponse(
        answer=answer.answer,
        citations=[CitedPassage(**asdict(each)) for each in answer.citations],
        usage=usage,
        model=answer.model,
        queries=list(answer.queries),
        filters=dict(answer.filters),
        notes=list(answer.notes),
        finish_reason=answer.finish_reason,
        timings=dict(answer.timings),
    )


def _merged(app: FastAPI, openapi: dict[str, Any]) -> dict[str, Any]:
    """One document for all routes; FastAPI's own description of its errors is replaced by ours."""
    ours = app.openapi()
    paths, schemas = dict(openapi["paths"]), dict(openapi["components"]["schemas"])
    for path, operations in ours.get("paths", {}).items():
        for operation in operations.values():
            own = {status: told for status, told in operation["responses"].items() if status == "200"}
            own["200"]["content"]["text/event-stream"] = {"schema": EVENTS}
            operation["responses"] = own | openapi["components"]["x-errors"]
        paths[path] = operations
    schemas |= {
        name: each
        for name, each in ours.get("components", {}).get("schemas", {}).items()
        if "ValidationError" not in name
    }
    components = {name: each for name, each in openapi["components"].items() if name != "x-errors"}
    return {**openapi, "paths": paths, "components": {**components, "schemas": schemas}}


async def _refused(request: Request, error: Exception) -> Response:
    told = refusal(error) if isinstance(error, LlmDeployError) else refusal(NotFoundError(str(error)))
    at_work = request.scope.get(AT_WORK)
    if at_work is not None:
        at_work.record.refused = told.code
    return _answered(told)


async def _invalid(_request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    text = "; ".join(f"{'.'.join(map(str, each['loc'][1:])) or 'the body'}: {each['msg']}" for each in problems)
    return _answered(Refusal(422, "invalid_request_error", "invalid_request", text or "the body is wrong"))


async def _http(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "http_error")
    text = {404: "there is nothing at this path", 405: "this path takes another method"}.get(status, "refused")
    response = _answered(Refusal(status, "invalid_request_error", code, text))
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return response


def _answered(told: Refusal) -> Response:
    headers = {name.decode(): value.decode() for name, value in told.headers()}
    return Response(told.body(), told.status, headers, "application/json")
