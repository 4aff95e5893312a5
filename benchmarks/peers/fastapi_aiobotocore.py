"""The gateway that anybody writes in an hour: FastAPI, a pydantic body, aiobotocore, the engine's answer relayed.

It knows no keys, no limits and no metering, and it converts nothing: what is measured beside it does more. Run by
uvicorn with uvloop and httptools in the environment of `requirements/aws.txt`; the endpoint's name is the model's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from fastapi import FastAPI
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel


class Message(BaseModel):
    """One message of a chat."""

    role: str
    content: str


class ChatRequest(BaseModel):
    """OpenAI's chat request, as far as it is used."""

    model: str
    messages: list[Message]
    max_tokens: int | None = None
    temperature: float | None = None
    stream: bool = False


class CompletionRequest(BaseModel):
    """OpenAI's completion request, as far as it is used."""

    model: str
    prompt: str
    max_tokens: int | None = None
    temperature: float | None = None
    stream: bool = False


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for all requests, with a pool as large as the load."""
    config = AioConfig(max_pool_connections=2000)
    async with get_session().create_client("sagemaker-runtime", config=config) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def chat(asked: ChatRequest) -> Response:
    """Relay a chat; the engine speaks OpenAI's shape itself."""
    return await relay(asked.model, asked.model_dump_json(exclude={"model"}), stream=asked.stream)


@app.post("/v1/completions")
async def complete(asked: CompletionRequest) -> Response:
    """Relay a completion."""
    return await relay(asked.model, asked.model_dump_json(exclude={"model"}), stream=asked.stream)


async def relay(endpoint: str, body: str, *, stream: bool) -> Response:
    """Ask the endpoint and hand on what it says."""
    named: dict[str, Any] = {"EndpointName": endpoint, "ContentType": "application/json", "Body": body}
    if not stream:
        answer = await app.state.client.invoke_endpoint(**named)
        return Response(await answer["Body"].read(), media_type="application/json")
    answer = await app.state.client.invoke_endpoint_with_response_stream(**named)
    return StreamingResponse(parts(answer["Body"]), media_type="text/event-stream")


async def parts(events: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - aiobotocore ships no types
    """The bytes of a response stream."""
    async for event in events:
        yield event["PayloadPart"]["Bytes"]
