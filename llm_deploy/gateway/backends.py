"""One place that answers for a model: how to ask it, over which transport, and whether it is worth asking now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llm_deploy.client.transport import AsyncTransport
from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import InferenceRequestError
from llm_deploy.gateway.asked import Asked, Kind, written
from llm_deploy.gateway.config import Health

Speech = Literal["openai", "openai-chat", "tgi", "lmi"]
"""What an address understands; `openai-chat` takes a prompt as a chat only."""

_USAGE = {"include_usage": True}
_TGI_ONLY = frozenset({"inputs", "parameters", "model", "stream", "messages", "prompt", "max_tokens"})
_ONLY_MODEL = frozenset({"model"})
_OF_PROMPTS = frozenset({"model", "inputs", "parameters", "prompt"})
"""Where one address takes chats and prompts, these fields decide which it is: a body that was checked as one must not
be taken for the other, whose bounds were not looked at."""
_EVERY_KIND: tuple[Kind, ...] = ("chat", "completion", "embeddings", "generate")


@dataclass(frozen=True, slots=True)
class Lane:
    """One address of a backend, and what is spoken there."""

    transport: AsyncTransport
    speech: Speech


@dataclass(slots=True)
class Backend:
    """One place that answers for a model.

    Attributes:
        place: In a word, for logs and metrics.
        lanes: By kind of request; a kind that is not there is refused.
        weight: Share of the requests; 0 is asked only when others cannot.
        served_name: The model's name there; left out of the body where `None`.
        start: Makes it ready (loads an engine); called once, before the first request.
        stop: Lets go of what `start` made.
        ready: Whether requests may be sent.
        left_alone_until_s: On the router's clock: not asked before, unless all others fail.
        failures: In a row.
    """

    place: str
    lanes: Mapping[Kind, Lane]
    weight: float = 1.0
    served_name: str | None = None
    health: Health = field(default_factory=Health)
    start: Callable[[], Awaitable[None]] | None = None
    stop: Callable[[], Awaitable[None]] | None = None
    ready: Callable[[], bool] = lambda: True
    left_alone_until_s: float = 0.0
    failures: int = 0

    def lane(self, kind: Kind) -> Lane:
        """The address for a kind of request.

        Raises:
            InferenceRequestError: This backend has none.
        """
        lane = self.lanes.get(kind)
        if lane is None:
            raise InferenceRequestError(f"this model does not answer {kind} requests")
        return lane

    def body(self, asked: Asked, speech: Speech) -> bytes:
        """The request's body as this backend is to get it.

        Raises:
            InferenceRequestError: It cannot be said there.
        """
        if asked.kind == "generate":
            document = _inputs(asked, speech)
        elif asked.kind == "embeddings" and not speech.startswith("openai"):
            document = {"inputs": asked.document["input"]}  # TEI's
        elif asked.kind == "embeddings" or _takes_as_it_is(asked.kind, speech):
            document = _passed_on(asked, speech)
        else:
            return dialect(speech).encode(_typed(asked), stream=asked.stream)
        if self.served_name is not None and speech != "tgi":
            document["model"] = self.served_name
        return written(document)

    def failed(self, now_s: float) -> None:
        """Leave it alone for a while: longer with every failure in a row."""
        pause_s = min(self.health.longest_pause_s, self.health.pause_s * 2.0**self.failures)
        self.failures = min(self.failures + 1, 16)
        self.left_alone_until_s = now_s + pause_s

    def answered(self) -> None:
        """Trust it again."""
        if self.failures:
            self.failures, self.left_alone_until_s = 0, 0.0

    async def aclose(self) -> None:
        """Let go of everything; harmless when called again."""
        for transport in {id(lane.transport): lane.transport for lane in self.lanes.values()}.values():
            await transport.aclose()
        if self.stop is not None:
            await self.stop()


def single_lane(transport: AsyncTransport, speech: Speech) -> dict[Kind, Lane]:
    """The lanes of an address that takes everything: SageMaker's, or a container's /invocations."""
    return dict.fromkeys(_EVERY_KIND, Lane(transport, speech))


def _takes_as_it_is(kind: Kind, speech: Speech) -> bool:
    """Chats are OpenAI's everywhere (TGI and LMI tell them by `messages`); prompts are so where OpenAI is spoken."""
    return kind == "chat" or speech == "openai"


def _passed_on(asked: Asked, speech: Speech) -> dict[str, Any]:
    left_out = _OF_PROMPTS if asked.kind == "chat" and speech != "openai" else _ONLY_MODEL
    document = {name: value for name, value in asked.document.items() if name not in left_out}
    if asked.stream:
        # The tokens of every stream are metered; who did not ask for the usage does not get to see it.
        options = document.get("stream_options")
        document["stream_options"] = _USAGE if options is None else {**options, **_USAGE}
    return document


def _inputs(asked: Asked, speech: Speech) -> dict[str, Any]:
    given = asked.document.get("parameters") or {}
    if speech in {"tgi", "lmi"}:
        rest = {name: value for name, value in asked.document.items() if name not in _TGI_ONLY}
        parameters = {**given, "details": True}
        return {**rest, "inputs": asked.document["inputs"], "parameters": parameters, "stream": asked.stream}
    request = _typed_parameters(GenerationRequest(prompt=asked.document["inputs"]), given)
    return _json_of(dialect(speech).encode(request, stream=asked.stream))


def _typed(asked: Asked) -> GenerationRequest:
    """An OpenAI completion in no engine's words."""
    given = {name: value for name, value in asked.document.items() if name not in _SAID_ELSEWHERE}
    if given.pop("logprobs", None):
        raise InferenceRequestError("this model's engine has no logprobs on this route: leave logprobs out")
    prompt = asked.document["prompt"]
    request = GenerationRequest(
        prompt=prompt[0] if isinstance(prompt, list) else prompt,
        return_full_text=bool(given.pop("echo", False)),
    )
    return _typed_parameters(request, given)


_SAID_ELSEWHERE = frozenset({"model", "prompt", "stream", "stream_options", "n", "user"})


def _typed_parameters(request: GenerationRequest, given: Mapping[str, Any]) -> GenerationRequest:
    from llm_deploy.client.payload import with_parameters  # noqa: PLC0415 - only these few requests need it

    known = {name: value for name, value in given.items() if value is not None}
    return with_parameters(request, known)


def _json_of(body: bytes) -> dict[str, Any]:
    import json  # noqa: PLC0415 - as above

    document: dict[str, Any] = json.loads(body)
    return document
