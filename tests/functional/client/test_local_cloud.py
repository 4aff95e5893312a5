"""The client against the local cloud: real engines' dialects, real tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from llm_deploy import GenerationRequest, InferenceExecutor, LLMInferenceSagemakerEndpoint
from llm_deploy.aws import Session
from llm_deploy.dialects.stream import collect
from llm_deploy.errors import InferenceRequestError, InferenceTimeoutError, NotFoundError
from tests.conftest import ROOT, Terminal

pytestmark = [pytest.mark.row("T5"), pytest.mark.xdist_group("local-cloud")]

ASK = GenerationRequest(prompt="The capital of France is", max_new_tokens=16, temperature=0, seed=7)
LONG = GenerationRequest(prompt="1, 2, 3, 4, 5,", max_new_tokens=1500, temperature=0, seed=7)
"""Counting, the likeliest token each time, goes on to the limit; a story may end by itself at any moment."""


@pytest.fixture(scope="module")
def session(pointed_at_it: dict[str, str]) -> Session:
    """The local cloud's."""
    return Session(
        region=pointed_at_it["AWS_REGION"],
        endpoint_url=pointed_at_it["AWS_ENDPOINT_URL"],
        access_key=pointed_at_it["AWS_ACCESS_KEY_ID"],
        secret_key=pointed_at_it["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(
    scope="module", params=["tgi", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vllm", "lmi"))]
)
def deployed(request: pytest.FixtureRequest, local_cloud: Terminal) -> Iterator[str]:
    """The name of an endpoint with this engine; the dialects of the others are also asked in test_model_server.py."""
    name = f"client-{request.param}"
    settings = ("--set", f"engine={request.param}", "--set", f"name={name}")
    local_cloud.run("deploy-endpoint", str(ROOT / "configs" / "smollm2.yaml"), *settings, "--yes")
    yield name
    local_cloud.run("delete-endpoint", name, "--yes")


def test_every_engine_gives_the_same_text_streamed_and_whole(deployed: str, session: Session) -> None:
    """Nothing but the endpoint's name is said; the same seed gives the same text; counts and timings are filled in."""
    llm = LLMInferenceSagemakerEndpoint(deployed, session=session)
    whole = llm.generate(ASK)
    streamed = collect(llm.stream(ASK))
    assert whole.text.startswith(" Paris")
    assert streamed.text == whole.text
    assert (streamed.finish_reason, whole.finish_reason) == ("length", "length")
    assert (streamed.counts.generated, whole.counts.generated) == (16, 16)
    assert whole.timings is not None
    assert streamed.timings is not None
    assert 0 < (streamed.timings.first_token_s or 0) < streamed.timings.total_s


def test_the_seeds_python_works(deployed: str, session: Session) -> None:
    """Its names, in its order."""
    llm = LLMInferenceSagemakerEndpoint(
        deployed, {"parameters": {"max_new_tokens": 5, "temperature": 0.01}}, session=session
    )
    llm.set_payload("The capital of France is", {"max_new_tokens": 3})
    assert llm.inference().counts.generated == 3
    executor = InferenceExecutor(llm, "What is the capital of France?", "Paris is the capital of France.")
    assert executor.execute()
    assert "".join(executor.stream())


def test_a_chat_is_answered_by_every_engine(deployed: str, session: Session) -> None:
    """Messages, streamed and whole."""
    llm = LLMInferenceSagemakerEndpoint(deployed, session=session)
    messages = ({"role": "user", "content": "Say hello."},)
    request = GenerationRequest(messages=messages, max_new_tokens=12, temperature=0, seed=1)
    assert collect(llm.stream(request)).text == llm.generate(request).text != ""


def test_text_comes_while_it_is_made_and_stops_when_it_is_left(deployed: str, session: Session) -> None:
    """The first piece is there long before the last; after leaving, the engine is free for others at once."""
    llm = LLMInferenceSagemakerEndpoint(deployed, session=session)
    streams = [llm.stream(LONG) for _ in range(4)]  # as many as the engine works on at once
    for stream in streams:
        next(stream)
    for stream in streams:
        stream.close()
    start_s = time.monotonic()
    assert llm.generate(ASK).text.startswith(" Paris")
    assert time.monotonic() - start_s < 10


def test_a_deadline_ends_a_long_answer(deployed: str, session: Session) -> None:
    """With the text so far."""
    llm = LLMInferenceSagemakerEndpoint(deployed, session=session, answer_timeout_s=1.5)
    with pytest.raises(InferenceTimeoutError) as raised:
        collect(llm.stream(LONG))
    assert raised.value.partial_text


def test_the_engines_own_refusal_is_in_the_message(deployed: str, session: Session) -> None:
    """A prompt that is too long, with the engine's numbers."""
    llm = LLMInferenceSagemakerEndpoint(deployed, session=session)
    with pytest.raises(InferenceRequestError, match="token"):
        llm.generate(GenerationRequest(prompt="word " * 9000, max_new_tokens=5))


def test_an_endpoint_that_is_not_there(session: Session, local_cloud: Terminal) -> None:
    """Looked up or called blindly, it is the same error."""
    assert local_cloud
    for llm in (
        LLMInferenceSagemakerEndpoint("nobody", session=session),
        LLMInferenceSagemakerEndpoint("nobody", None, "none", dialect="tgi", session=session),
    ):
        with pytest.raises(NotFoundError, match="nobody"):
            llm.generate(ASK)
