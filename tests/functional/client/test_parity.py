"""Threads and event loops: every public method, made by both, sends the same and gets the same."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from llm_deploy import (
    AsyncInferenceExecutor,
    AsyncLLMInferenceHttpEndpoint,
    AsyncLLMInferenceSagemakerEndpoint,
    GenerationRequest,
    InferenceExecutor,
    LLMInferenceHttpEndpoint,
    LLMInferenceSagemakerEndpoint,
)
from llm_deploy.aws import Session
from llm_deploy.client.inference import AsyncInference, StreamingInference
from llm_deploy.client.model import Model
from llm_deploy.client.model_async import AsyncModel
from llm_deploy.resource import TAG_DIALECT, TAG_SAMPLING
from tests.fakes.runtime_server import (
    REGION,
    Reply,
    control_error,
    invocation,
    invocation_error,
    payload_part,
    response_stream,
    serving,
    stream_exception,
)
from tests.functional.client.twins import PATIENCE, Call, by_loop, by_thread

pytestmark = pytest.mark.row("T5")

ASK = GenerationRequest(prompt="Hi", max_new_tokens=3, temperature=0.5)
CHAT = GenerationRequest(messages=({"role": "user", "content": "Hi"},))
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

TGI = invocation([{"generated_text": " Paris", "details": {"finish_reason": "length", "generated_tokens": 1}}])
CHAT_ANSWER = invocation({
    "choices": [{"message": {"content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}]},
        "finish_reason": "tool_calls"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 9},
})  # fmt: skip
VECTORS = invocation({"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}], "model": "m",
                      "usage": {"prompt_tokens": 2}})  # fmt: skip
REFUSED = Reply(422, (b'{"error":"`inputs` must have less than 9 tokens","error_type":"validation"}',))
OVERLOADED = Reply(429, (b'{"error":"Model is overloaded","error_type":"overloaded"}',))
OTHER_SHAPE = Reply(400, (b'{"object":"error","message":"Cannot find suitable handler for request","code":400}',))
COMPLETION = invocation({"choices": [{"text": " Paris", "finish_reason": "length"}]})


def sse(*documents: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - JSON
    return tuple(b"data: %s\n\n" % json.dumps(document).encode() for document in documents)


PIECES = sse(
    {"choices": [{"delta": {"content": "Par"}, "finish_reason": None}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "weather"}}]}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
)
STREAM = Reply(parts=(*PIECES, b"data: [DONE]\n\n"))
BROKEN = Reply(parts=PIECES[:1], end="reset")

CALLS: dict[str, tuple[Call, list[Reply]]] = {
    "generate": (lambda llm: llm.generate(ASK), [TGI]),
    "generate, refused": (lambda llm: llm.generate(ASK), [REFUSED]),
    "generate, overloaded": (lambda llm: llm.generate(ASK), [OVERLOADED]),
    "generate, other shape first": (lambda llm: llm.generate(ASK), [OTHER_SHAPE, COMPLETION]),
    "generate, no answer": (lambda llm: llm.generate(ASK), [invocation(b"nonsense")]),
    "generate, vanished": (lambda llm: llm.generate(ASK), [Reply(end="vanish")]),
    "generate, too late": (lambda llm: llm.generate(ASK, timeout_s=0.2), [Reply(end="hang")]),
    "generate, what cannot be said": (lambda llm: llm.generate(GenerationRequest()), [TGI]),
    "stream": (lambda llm: llm.stream(CHAT), [STREAM]),
    "stream, refused": (lambda llm: llm.stream(CHAT), [REFUSED]),
    "stream, broken": (lambda llm: llm.stream(CHAT), [BROKEN]),
    "stream, too late": (lambda llm: llm.stream(CHAT, timeout_s=0.2), [Reply(parts=PIECES[:1], end="hang")]),
    "chat": (
        lambda llm: llm.chat(
            "Hi", system="Be brief.", tools=[TOOL], tool_choice="required", max_new_tokens=9, top_p=0.5
        ),
        [CHAT_ANSWER],
    ),
    "chat, bound to a schema": (
        lambda llm: llm.chat([{"role": "user", "content": "Hi"}], json_schema=SCHEMA),
        [CHAT_ANSWER],
    ),
    "chat, bound to an expression": (lambda llm: llm.chat("Hi", regex="[0-9]+", timeout_s=9), [CHAT_ANSWER]),
    "chat, bound twice": (lambda llm: llm.chat("Hi", regex="[0-9]+", json_schema=SCHEMA), [CHAT_ANSWER]),
    "stream_chat": (lambda llm: llm.stream_chat("Hi", tools=[TOOL], seed=3), [STREAM]),
    "stream_chat, refused": (lambda llm: llm.stream_chat("Hi"), [OVERLOADED]),
    "batch": (
        lambda llm: llm.batch(["a", "b", [{"role": "user", "content": "c"}], ASK], concurrency=1, seed=1),
        [TGI, REFUSED, CHAT_ANSWER, TGI],
    ),
    "batch, of none": (lambda llm: llm.batch([]), [TGI]),
    "batch, one text": (lambda llm: llm.batch("abc"), [TGI]),
    "batch, none at once": (lambda llm: llm.batch(["a"], concurrency=0), [TGI]),
    "embed": (lambda llm: llm.embed(["a", "b"]), [VECTORS]),
    "embed, other shape first": (lambda llm: llm.embed(["a", "b"]), [OTHER_SHAPE, VECTORS]),
    "embed, lists": (lambda llm: llm.embed(["a", "b"]), [invocation([[1, 0], [0, 1]])]),
    "embed, too few": (lambda llm: llm.embed(["a", "b", "c"]), [VECTORS]),
    "embed, an empty text": (lambda llm: llm.embed(["a", ""]), [VECTORS]),
    "embed, one text": (lambda llm: llm.embed("ab"), [VECTORS]),
    "embed, refused": (lambda llm: llm.embed(["a"]), [REFUSED]),
    "embed, many": (
        lambda llm: llm.embed(["a"] * 33),
        [invocation([[1.0, 0.0]] * 32), invocation([[0.0, 1.0]])],
    ),
    "embed, many, one part refused": (lambda llm: llm.embed(["a"] * 33), [invocation([[1.0, 0.0]] * 32), REFUSED]),
    "request": (lambda llm: llm.request("Hi", max_new_tokens=3, seed=4, typical_p=0.5), [TGI]),
    "defaults": (lambda llm: llm.defaults(), [TGI]),
    "inference, of nothing": (lambda llm: llm.inference(), [TGI]),
    "set_payload": (lambda llm: llm.set_payload("Hi", {"seed": 1}), [TGI]),
}

LOOKED_UP = [
    invocation({"EndpointArn": f"arn:aws:sagemaker:{REGION}:000000000000:endpoint/twin"}),
    invocation({"Tags": [{"Key": TAG_DIALECT, "Value": "tgi"}, {"Key": TAG_SAMPLING, "Value": "top_p=0.8"}]}),
    invocation({"InferenceComponents": [{"InferenceComponentName": "twin-ic"}]}),
]


def http(kind: type[Any], *, at: str = "/invocations", **options: Any) -> Callable[[str], Any]:  # noqa: ANN401 - passed on
    return lambda url: kind(url + at, patience=PATIENCE, **options)


def sagemaker(kind: type[Any], **options: Any) -> Callable[[str], Any]:  # noqa: ANN401 - passed on
    def make(url: str) -> Any:  # noqa: ANN401 - one of the two
        session = Session(region=REGION, endpoint_url=url, access_key="made-up", secret_key="made-up")
        return kind("twin", session=session, patience=PATIENCE, **options)

    return make


@pytest.mark.parametrize("name", CALLS)
def test_over_http(name: str) -> None:
    """The same requests, answers and errors."""
    call, replies = CALLS[name]
    here = by_thread(http(LLMInferenceHttpEndpoint), call, replies)
    there = by_loop(http(AsyncLLMInferenceHttpEndpoint), call, replies)
    assert here.sent == there.sent
    assert (here.got, here.error) == (there.got, there.error)


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith(("generate", "chat", "stream", "embed"))])
def test_under_a_base_with_a_key_and_a_model(name: str) -> None:
    """Chats, completions and vectors have addresses of their own; the model is named in each."""
    call, replies = CALLS[name]
    options = {"at": "/v1", "api_key": "made-up", "model": "tiny"}
    here = by_thread(http(LLMInferenceHttpEndpoint, **options), call, replies)
    there = by_loop(http(AsyncLLMInferenceHttpEndpoint, **options), call, replies)
    assert here == there
    for path, document, _ in here.sent:
        end = "chat/completions" if "messages" in document else "embeddings" if "input" in document else "completions"
        assert (path, document["model"]) == (f"/v1/{end}", "tiny")


NO_CAPACITY = invocation_error(400, "ValidationError", Message="x has no capacity to process this request.")
REFUSED_BY_MODEL = invocation_error(424, "ModelError", Message="m", OriginalStatusCode=422, OriginalMessage="no")
THROTTLED = invocation_error(400, "ThrottlingException", Message="Rate exceeded")
FRAMES = response_stream([*map(payload_part, PIECES), payload_part(b"data: [DONE]\n\n")])
BROKEN_FRAMES = response_stream([payload_part(PIECES[0]), stream_exception("ModelStreamError", {"Message": "died"})])

SAGEMAKER_CALLS: dict[str, tuple[Call, list[Reply]]] = {
    "generate": (lambda llm: llm.generate(ASK), [TGI]),
    "no capacity": (lambda llm: llm.generate(ASK), [NO_CAPACITY]),
    "model error": (lambda llm: llm.generate(ASK), [REFUSED_BY_MODEL]),
    "throttled, then not": (lambda llm: llm.generate(ASK), [THROTTLED, TGI]),
    "stream": (lambda llm: llm.stream(CHAT), [FRAMES]),
    "stream, broken": (lambda llm: llm.stream(CHAT), [BROKEN_FRAMES]),
    "chat": (lambda llm: llm.chat("Hi"), [CHAT_ANSWER]),
    "batch": (lambda llm: llm.batch(["a", "b"], concurrency=1), [TGI, REFUSED_BY_MODEL]),
    "embed": (lambda llm: llm.embed(["a", "b"]), [VECTORS]),
    "defaults": (lambda llm: llm.defaults(), []),
}


@pytest.mark.parametrize("name", SAGEMAKER_CALLS)
def test_over_sagemakers_runtime(name: str) -> None:
    """The same look-ups and calls, signed for the same component; the same answers and errors."""
    call, replies = SAGEMAKER_CALLS[name]
    here = by_thread(sagemaker(LLMInferenceSagemakerEndpoint), call, [*LOOKED_UP, *replies])
    there = by_loop(sagemaker(AsyncLLMInferenceSagemakerEndpoint), call, [*LOOKED_UP, *replies])
    assert here == there
    calls = [headers for path, _, headers in here.sent if path.startswith("/endpoints/")]
    assert all(headers["x-amzn-sagemaker-inference-component"] == "twin-ic" for headers in calls)


def test_an_endpoint_that_is_not_there() -> None:
    """The same error."""
    missing = [control_error("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:::endpoint/twin".')]
    here = by_thread(sagemaker(LLMInferenceSagemakerEndpoint), lambda llm: llm.generate(ASK), missing)
    there = by_loop(sagemaker(AsyncLLMInferenceSagemakerEndpoint), lambda llm: llm.generate(ASK), missing)
    assert here == there
    assert here.error is not None


def test_payloads_and_inference() -> None:
    """What a task sets is asked, as what a thread sets."""

    async def asked(llm: AsyncModel) -> Any:  # noqa: ANN401 - a generation
        await llm.set_payload("Hi", {"max_new_tokens": 3})
        return await llm.inference()

    def asked_here(llm: Model) -> Any:  # noqa: ANN401 - as above
        llm.set_payload("Hi", {"max_new_tokens": 3})
        return llm.inference()

    here = by_thread(http(LLMInferenceHttpEndpoint), asked_here, [TGI])
    assert here == by_loop(http(AsyncLLMInferenceHttpEndpoint), asked, [TGI])


def test_progress_is_told_by_both() -> None:
    """Each item once, when it is done."""
    for run, kind in ((by_thread, LLMInferenceHttpEndpoint), (by_loop, AsyncLLMInferenceHttpEndpoint)):
        told: list[int] = []

        def call(llm: Any, told: list[int] = told) -> Any:  # noqa: ANN401 - one of the two
            return llm.batch(["a", "b"], concurrency=1, on_done=lambda item: told.append(item.index))

        run(http(kind), call, [TGI])
        assert told == [0, 1]


@pytest.mark.parametrize("method", ["execute", "generate", "stream", "render"])
def test_executors(method: str) -> None:
    """The same prompt, the same answer, whole and streamed."""
    replies = [Reply(parts=sse({"token": {"text": " Paris"}, "generated_text": " Paris",
                                "details": {"finish_reason": "length"}}))] if method == "stream" else [TGI]  # fmt: skip

    def here(llm: Model) -> Any:  # noqa: ANN401 - whatever the method gives
        return getattr(InferenceExecutor(llm, "Where?", "In France."), method)()

    def there(llm: AsyncModel) -> Any:  # noqa: ANN401 - as above
        made = getattr(AsyncInferenceExecutor(llm, "Where?", "In France."), method)()
        return made if method != "render" else _ready(made)

    one = by_thread(http(LLMInferenceHttpEndpoint, dialect="tgi"), here, replies)
    assert one == by_loop(http(AsyncLLMInferenceHttpEndpoint, dialect="tgi"), there, replies)
    assert one.error is None


async def _ready(value: Any) -> Any:  # noqa: ANN401 - as above
    return value


@pytest.mark.parametrize(
    ("kind", "twin"),
    [
        (Model, AsyncModel),
        (LLMInferenceHttpEndpoint, AsyncLLMInferenceHttpEndpoint),
        (LLMInferenceSagemakerEndpoint, AsyncLLMInferenceSagemakerEndpoint),
        (InferenceExecutor, AsyncInferenceExecutor),
    ],
)
def test_twins_have_the_same_methods_with_the_same_parameters(kind: type[Any], twin: type[Any]) -> None:
    """Names, defaults and order; `close` is `aclose`."""
    assert _surface(kind) == _surface(twin)


def test_each_satisfies_its_protocol() -> None:
    """So that bench, gateway and executors take them."""
    with serving(TGI) as server:
        assert isinstance(LLMInferenceHttpEndpoint(server.url), StreamingInference)
        assert isinstance(AsyncLLMInferenceHttpEndpoint(server.url), AsyncInference)


def test_every_method_is_compared_above() -> None:
    """A method that is added is added there."""
    compared = {name.partition(",")[0] for name in CALLS} | {"inference", "close"}
    assert set(_surface(Model)) - {"__init__"} == compared


def _surface(kind: type[Any]) -> dict[str, list[tuple[str, Any, Any]]]:
    methods = {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}
    methods["__init__"] = kind.__init__
    return {
        name.replace("aclose", "close"): [
            (each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()
        ]
        for name, method in methods.items()
    }
