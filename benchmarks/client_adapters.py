"""The clients that are measured, each as its users write it: a prompt in, the answer's text or its tokens' texts out.

The incumbents' modules are imported where they are used, because this file runs in two environments. The pools are as
large as the number of callers: the default of ten connections would be another contest. Nothing here measures.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.stub_sigv4 import ACCESS_KEY, REGION, SECRET_KEY

COMPONENT = "stub-component"
"""Named in every call of every client, so that none of them has to look it up."""
PROMPT = "The capital of France is"
PARAMETERS = {"max_new_tokens": 16, "temperature": 0.7, "details": True}


@dataclass(frozen=True)
class Target:
    """Where the stub is, what it shall do (the endpoint's name), and how many callers there will be."""

    url: str
    endpoint: str
    callers: int


class Sync(Protocol):
    """A blocking client."""

    def call(self) -> str:
        """One whole answer's text."""

    def stream(self) -> Iterator[str]:
        """The texts of one answer's tokens."""


class Async(Protocol):
    """A client on an event loop."""

    async def call(self) -> str:
        """One whole answer's text."""

    def stream(self) -> AsyncIterator[str]:
        """The texts of one answer's tokens."""

    async def aclose(self) -> None:
        """Close it."""


class Lines:
    """Parts of a stream as token texts: what anybody writes who uses the SDK alone."""

    def __init__(self) -> None:
        self._rest = b""

    def texts(self, part: bytes) -> list[str]:
        """The texts of the lines that are whole now."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        events = (json.loads(line[5:]) for line in lines if line.startswith(b"data:"))
        return [event["token"]["text"] for event in events]


def _arguments(endpoint: str) -> dict[str, Any]:
    document = {"inputs": PROMPT, "parameters": PARAMETERS}
    return {
        "EndpointName": endpoint,
        "InferenceComponentName": COMPONENT,
        "ContentType": "application/json",
        "Body": json.dumps(document),
    }


class Boto3:
    """`boto3.client("sagemaker-runtime")`, which threads share."""

    def __init__(self, target: Target) -> None:
        import boto3  # noqa: PLC0415 - see the module's docstring
        from botocore.config import Config  # noqa: PLC0415 - as above

        session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
        config = Config(max_pool_connections=max(10, target.callers))
        self._client = session.client("sagemaker-runtime", endpoint_url=target.url, config=config)
        self._endpoint = target.endpoint

    def call(self) -> str:
        """`invoke_endpoint`."""
        answer = self._client.invoke_endpoint(**_arguments(self._endpoint))
        return str(json.loads(answer["Body"].read())[0]["generated_text"])

    def stream(self) -> Iterator[str]:
        """`invoke_endpoint_with_response_stream`."""
        answer = self._client.invoke_endpoint_with_response_stream(**_arguments(self._endpoint))
        lines = Lines()
        for event in answer["Body"]:
            yield from lines.texts(event["PayloadPart"]["Bytes"])


class Aiobotocore:
    """aiobotocore's client."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._made: Any = None
        self._context: Any = None

    async def _client(self) -> Any:  # noqa: ANN401 - it ships no types
        if self._made is None:
            from aiobotocore.config import AioConfig  # noqa: PLC0415 - see the module's docstring
            from aiobotocore.session import get_session  # noqa: PLC0415 - as above

            self._context = get_session().create_client(
                "sagemaker-runtime",
                region_name=REGION,
                endpoint_url=self._target.url,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
                config=AioConfig(max_pool_connections=max(10, self._target.callers)),
            )
            self._made = await self._context.__aenter__()
        return self._made

    async def call(self) -> str:
        """`invoke_endpoint`."""
        client = self._made or await self._client()
        answer = await client.invoke_endpoint(**_arguments(self._target.endpoint))
        return str(json.loads(await answer["Body"].read())[0]["generated_text"])

    async def stream(self) -> AsyncIterator[str]:
        """`invoke_endpoint_with_response_stream`."""
        client = self._made or await self._client()
        answer = await client.invoke_endpoint_with_response_stream(**_arguments(self._target.endpoint))
        lines = Lines()
        async for event in answer["Body"]:
            for text in lines.texts(event["PayloadPart"]["Bytes"]):
                yield text

    async def aclose(self) -> None:
        """Leave the client's context."""
        await self._context.__aexit__(None, None, None)


class Ours:
    """`LLMInferenceSagemakerEndpoint`, which threads share; credentials and address from the environment."""

    def __init__(self, target: Target) -> None:
        from llm_deploy import LLMInferenceSagemakerEndpoint  # noqa: PLC0415 - see the module's docstring

        payload = {"inputs": PROMPT, "parameters": PARAMETERS}
        self._model = LLMInferenceSagemakerEndpoint(target.endpoint, payload, COMPONENT, dialect="tgi", region=REGION)

    def call(self) -> str:
        """`set_payload` and `inference`."""
        self._model.set_payload(PROMPT)
        return self._model.inference().text

    def stream(self) -> Iterator[str]:
        """`stream`."""
        from llm_deploy.client.payload import with_inputs  # noqa: PLC0415 - as above

        for chunk in self._model.stream(with_inputs(self._model.defaults(), PROMPT)):
            yield chunk.text


class OursAsync:
    """`AsyncLLMInferenceSagemakerEndpoint`."""

    def __init__(self, target: Target) -> None:
        from llm_deploy import AsyncLLMInferenceSagemakerEndpoint  # noqa: PLC0415 - see the module's docstring

        payload = {"inputs": PROMPT, "parameters": PARAMETERS}
        self._model = AsyncLLMInferenceSagemakerEndpoint(
            target.endpoint, payload, COMPONENT, dialect="tgi", region=REGION
        )

    async def call(self) -> str:
        """`generate`."""
        return str((await self._model.generate(await self._request())).text)

    async def stream(self) -> AsyncIterator[str]:
        """`stream`."""
        async for chunk in self._model.stream(await self._request()):
            yield chunk.text

    async def _request(self) -> Any:  # noqa: ANN401 - a type of ours, which the other environment has not
        from llm_deploy.client.payload import with_inputs  # noqa: PLC0415 - as above

        return with_inputs(await self._model.defaults(), PROMPT)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._model.aclose()


SYNC: dict[str, Callable[[Target], Sync]] = {"boto3": Boto3, "ours": Ours}
ASYNC: dict[str, Callable[[Target], Async]] = {"aiobotocore": Aiobotocore, "ours_async": OursAsync}
