"""Which backend is asked: weights, memory of failures, and what goes on to the next."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from itertools import count

import pytest
from hypothesis import given, strategies as st

from llm_deploy.errors import (
    InferenceError,
    InferenceRequestError,
    InferenceTimeoutError,
    LlmDeployError,
    NoCapacityError,
    StreamBrokenError,
    UnreachableError,
)
from llm_deploy.gateway import config as documents
from llm_deploy.gateway.asked import read
from llm_deploy.gateway.backends import Backend, Lane, Speech, single_lane
from llm_deploy.gateway.routing import NOT_STARTED, ServedModel
from tests.fakes.gateways import answer, chat
from tests.fakes.transports import FakeTransport

SETTINGS = documents.Model(backends=(documents.Backend(url="http://fake"),))


def model(*backends: Backend, now: list[float] | None = None, pick: float = 0.0) -> ServedModel:
    """A model over backends, with a clock and a dice that a test holds."""
    time = now or [0.0]
    return ServedModel("m", SETTINGS, backends, clock=lambda: time[0], pick=lambda: pick)


def backend(name: str, transport: FakeTransport | None = None, weight: float = 1.0) -> Backend:
    """A backend that speaks OpenAI."""
    return Backend(name, single_lane(transport or FakeTransport(answer=answer()), "openai"), weight)


@given(weights=st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=1, max_size=5), picks=st.floats(0, 0.999))
def test_the_order_has_everybody_once_and_fallbacks_last(weights: list[float], picks: float) -> None:
    """Whatever the dice say, every backend is asked at most once, and those without weight after the others."""
    made = model(*(backend(str(number), weight=weight) for number, weight in enumerate(weights)), pick=picks)
    order = made.order()
    assert sorted(each.place for each in order) == sorted(map(str, range(len(weights))))
    if len(weights) > 1:
        with_weight = [bool(each.weight) for each in order]
        assert with_weight == sorted(with_weight, reverse=True)


def test_shares_follow_weights() -> None:
    """Three to one."""
    backends = (backend("a", weight=3.0), backend("b"))
    steps = count()
    made = ServedModel("m", SETTINGS, backends, clock=lambda: 0.0, pick=lambda: (next(steps) % 100) / 100)
    first = Counter(made.order()[0].place for _ in range(200))
    assert first["a"] in range(140, 161)


def test_a_backend_that_fails_is_left_alone_for_a_while_and_longer_each_time() -> None:
    """Asked last while it rests; trusted again after the first answer."""
    now = [0.0]
    bad = FakeTransport(failure=UnreachableError("down"), answer=answer())
    made = model(backend("a", bad), backend("b"), now=now)
    asyncio.run(made.call(read("chat", chat())))
    assert [each.place for each in made.order()] == ["b", "a"]
    now[0] = 5.1
    assert made.order()[0].place == "a"
    asyncio.run(made.call(read("chat", chat())))
    now[0] = 10.2
    assert made.order()[0].place == "b"  # twice as long
    now[0] = 15.3
    bad.failure = None
    asyncio.run(made.call(read("chat", chat())))
    assert made.backends[0].failures == 0


def test_all_that_rest_are_asked_all_the_same() -> None:
    """A gateway that knows of nobody healthy still tries."""
    made = model(backend("a"), backend("b"))
    for each in made.backends:
        each.failed(0.0)
    assert len(made.order()) == 2
    assert asyncio.run(made.call(read("chat", chat())))


def test_only_what_certainly_did_not_start_goes_on() -> None:
    """The table of errors after which a request may be asked again, and some after which it may not."""
    assert not issubclass(InferenceError, NOT_STARTED)
    for kind in (InferenceError, InferenceTimeoutError, StreamBrokenError, InferenceRequestError):
        assert _asked_twice(kind("x")) is False
    for again in (UnreachableError, NoCapacityError):
        assert _asked_twice(again("x")) is True


def _asked_twice(error: LlmDeployError) -> bool:
    second = FakeTransport(answer=answer())
    made = model(backend("a", FakeTransport(failure=error)), backend("b", second, weight=0.0))
    with contextlib.suppress(type(error)):
        asyncio.run(made.call(read("chat", chat())))
    return bool(second.bodies)


def test_a_request_goes_to_a_backend_that_takes_its_kind() -> None:
    """A model whose backends differ answers whatever one of them answers; weights count among those."""
    chats = FakeTransport(answer=answer())
    native = Backend("native", {"chat": Lane(chats, "openai")})
    other = FakeTransport(answer=answer())
    made = model(native, backend("other", other))
    asyncio.run(made.call(read("completion", b'{"model":"m","prompt":"hi"}')))
    assert (len(chats.bodies), len(other.bodies)) == (0, 1)
    with contextlib.suppress(InferenceRequestError):
        asyncio.run(model(native).call(read("completion", b'{"model":"m","prompt":"hi"}')))
    assert not chats.bodies


def test_what_a_caller_got_wrong_is_no_failure_of_a_backend() -> None:
    """Else one caller's 400s would look like an outage in the metrics."""
    told: list[LlmDeployError] = []
    for error in (InferenceRequestError("no"), UnreachableError("away")):
        made = model(backend("a", FakeTransport(failure=error)))
        made.failed_over = lambda _backend, error: told.append(error)
        with contextlib.suppress(LlmDeployError):
            asyncio.run(made.call(read("chat", chat("m"))))
    assert [type(error) for error in told] == [UnreachableError]


@pytest.mark.parametrize("speech", ["tgi", "lmi"])
def test_a_body_is_not_taken_for_another_kind_of_request(speech: Speech) -> None:
    """Where one address takes both, the bounds of chats hold for chats, and those of prompts for prompts."""
    transport = FakeTransport(answer=answer())
    made = model(Backend("a", single_lane(transport, speech)))
    more = {"inputs": "x", "prompt": "x", "parameters": {"max_new_tokens": 10**6}}
    asyncio.run(made.call(read("chat", chat("m", **more))))
    prompt = {"inputs": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 10**6, "prompt": "x"}
    asyncio.run(made.call(read("generate", json.dumps(prompt).encode())))
    first, second = map(json.loads, transport.bodies)
    assert not first.keys() & more.keys()
    assert second.keys() == {"inputs", "parameters", "stream"}
