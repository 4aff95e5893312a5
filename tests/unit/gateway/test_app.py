"""The gateway over fake transports: every way in which a request may end, and what is left of it."""

from __future__ import annotations

import asyncio
import io
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from llm_deploy.errors import (
    AccessDeniedError,
    InferenceError,
    InferenceRequestError,
    LlmDeployError,
    NoCapacityError,
    OverloadedError,
    RateLimitedError,
    StreamBrokenError,
    UnreachableError,
)
from llm_deploy.gateway import pages
from llm_deploy.gateway.app import Gateway
from llm_deploy.gateway.journal import Journal
from llm_deploy.gateway.refusals import refusal
from tests.fakes.gateways import KEY, Browser, FakeAccess, answer, chat, chunks, client, gateway
from tests.fakes.transports import FakeTransport

if TYPE_CHECKING:
    import httpx

CHAT = "/v1/chat/completions"


def ask(made: Gateway, body: bytes, path: str = CHAT, **headers: str) -> httpx.Response:
    """One request with the key."""

    async def go() -> httpx.Response:
        async with client(made) as it:
            return await it.post(path, content=body, headers=headers)

    return asyncio.run(go())


def at_rest(made: Gateway) -> bool:
    """Nothing is held any more."""
    metrics, models = made.metrics, made.generations.models.values()
    places = sum(model.in_flight for model in models)
    return (metrics.in_flight, metrics.streams_open, places, len(made.desk.open)) == (0, 0, 0, 0)


def test_a_chat_is_answered_under_the_public_name_and_metered() -> None:
    """The engine gets the body without the public name; the caller gets the engine's answer under it."""
    transport = FakeTransport(answer=answer("bonjour"))
    made, access = gateway({"twin": [transport]})
    response = ask(made, chat(temperature=0.5), **{"x-request-id": "abc-1"})
    assert response.status_code == 200
    assert response.json()["model"] == "twin"
    assert response.json()["choices"][0]["message"]["content"] == "bonjour"
    assert response.headers["x-request-id"] == "abc-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert json.loads(transport.bodies[0]) == {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    assert access.permits[0].settled == [(4, 3)]
    assert at_rest(made)


def test_a_stream_is_metered_even_if_its_caller_wants_no_usage() -> None:
    """The engine is asked for the usage; the caller does not get to see what it did not ask for."""
    transport = FakeTransport(parts=chunks("a", "b"))
    made, access = gateway({"twin": [transport]})
    response = ask(made, chat(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert json.loads(transport.bodies[0])["stream_options"] == {"include_usage": True}
    assert "usage" not in response.text
    assert response.text.endswith("data: [DONE]\n\n")
    assert access.permits[0].settled == [(4, 2)]
    assert transport.open == 0
    assert at_rest(made)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_request"),
        (b"{", 400, "invalid_request"),
        (b"[]", 400, "invalid_request"),
        (b"\xff\xfe", 400, "invalid_request"),
        (b"[" * 100_000, 400, "invalid_request"),
        (b'{"model":"twin"}', 400, "invalid_request"),
        (b'{"model":"twin","messages":[]}', 400, "invalid_request"),
        (b'{"model":"twin","messages":[{"role":"user","content":5}]}', 400, "invalid_request"),
        (chat(n=2), 400, "invalid_request"),
        (chat(max_tokens=0), 400, "invalid_request"),
        (chat(max_tokens=10**9), 400, "invalid_request"),
        (chat(temperature=3), 400, "invalid_request"),
        (chat(stream="yes"), 400, "invalid_request"),
        (chat("nobody"), 404, "model_not_found"),
        (b'{"x":"' + b"a" * 3_000_000 + b'"}', 413, "request_too_large"),
    ],
)
def test_wrong_bodies_are_refused_in_openais_shape(body: bytes, status: int, code: str) -> None:
    """Malformed, oversized and deep bodies cost no model time, and say what is wrong."""
    transport = FakeTransport(answer=answer())
    made, _ = gateway({"twin": [transport]})
    response = ask(made, body)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.headers["x-should-retry"] == "false"
    assert not transport.bodies
    assert at_rest(made)


@pytest.mark.parametrize(
    ("error", "status", "again"),
    [
        (InferenceRequestError("too long"), 400, "false"),
        (OverloadedError("full"), 429, "true"),
        (NoCapacityError("loading"), 503, "true"),
        (UnreachableError("no route"), 503, "true"),
        (AccessDeniedError("arn:aws:iam::123456789012:role/x may not"), 503, "true"),
        (InferenceError("broke"), 502, "false"),
        (StreamBrokenError("broke"), 502, "false"),
    ],
)
def test_failures_before_the_answer_have_their_status(error: LlmDeployError, status: int, again: str) -> None:
    """Official clients repeat by themselves, unless told not to: what may have generated is not to be repeated."""
    for stream in (False, True):
        made, access = gateway({"twin": [FakeTransport(failure=error)]})
        response = ask(made, chat(stream=stream))
        assert response.status_code == status
        assert response.headers["x-should-retry"] == again
        assert "123456789012" not in response.text
        assert access.permits[0].settled == [(0, 0)]
        assert at_rest(made)


def test_a_stream_that_breaks_ends_with_an_error_event() -> None:
    """What had arrived is sent and metered, the error is an event, and no [DONE] pretends that all is well."""
    transport = FakeTransport(parts=chunks("a", "b", finish=None), breaks_with=StreamBrokenError("the model died"))
    made, access = gateway({"twin": [transport]})
    response = ask(made, chat(stream=True))
    last = response.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stream_broken"
    assert "[DONE]" not in response.text
    assert access.permits[0].settled[0][1] == 2
    assert made.metrics.refused["stream_broken"] == 1
    assert at_rest(made)


def test_what_did_not_start_goes_to_the_next_backend_and_what_may_have_started_does_not() -> None:
    """A generation is never run twice."""
    for error, asked in ((UnreachableError("x"), 1), (OverloadedError("x"), 1), (InferenceError("x"), 0)):
        first, second = FakeTransport(failure=error), FakeTransport(answer=answer())
        made, _ = gateway({"twin": [first, second]})
        response = ask(made, chat())
        assert (response.status_code == 200) is bool(asked)
        assert (len(first.bodies), len(second.bodies)) == (1, asked)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_model(stream: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The upstream is closed at once, the permit settled once, and nothing is held."""

    async def go() -> None:
        transport = FakeTransport(parts=chunks("a", finish=None), hangs=True)
        made, access = gateway({"twin": [transport]})
        async with made.running():
            browser = Browser(chat(stream=stream))
            asking = asyncio.create_task(browser.ask(made))
            await until(lambda: transport.open == 1)
            browser.gone.set()
            await asyncio.wait_for(asking, 5)
            assert transport.open == 0
            assert len(access.permits[0].settled) == 1
            assert made.metrics.refused["gone"] == 1
            assert at_rest(made)

    asyncio.run(go())


def test_a_reader_that_stalls_is_cut_off() -> None:
    """The model is not kept waiting for ever by somebody who does not read."""

    async def go() -> None:
        transport = FakeTransport(parts=chunks("a", "b", finish=None), hangs=True)
        made, access = gateway({"twin": [transport]}, limits={"stall_s": 0.05})
        async with made.running():
            browser = Browser(chat(stream=True), stuck=True)
            await asyncio.wait_for(browser.ask(made), 10)
            assert transport.open == 0
            assert made.metrics.refused["stalled"] == 1
            assert len(access.permits[0].settled) == 1
            assert at_rest(made)

    asyncio.run(go())


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_has_its_time(stream: bool) -> None:  # noqa: FBT001 - as above
    """After it the caller is told: with a status before the answer has begun, with an event after."""

    async def go() -> None:
        transport = FakeTransport(parts=chunks("a", finish=None), hangs=True)
        made, _ = gateway({"twin": [transport]}, models={"twin": {"timeout_s": 0.1}})
        async with made.running():
            browser = Browser(chat(stream=stream))
            await asyncio.wait_for(browser.ask(made), 10)
            assert browser.status == (200 if stream else 504)
            assert '"timeout"' in browser.text
            assert browser.complete
            assert transport.open == 0
            assert at_rest(made)

    asyncio.run(go())


def test_a_body_that_does_not_arrive_is_408() -> None:
    """Nobody may hold a place by sending nothing."""

    async def go() -> None:
        made, _ = gateway({"twin": [FakeTransport()]}, limits={"body_timeout_s": 0.1})
        async with made.running():
            browser = Browser(chat(), withholds_body=True)
            await asyncio.wait_for(browser.ask(made), 10)
            assert browser.status == 408
            assert at_rest(made)

    asyncio.run(go())


def test_the_end_of_the_gateway_ends_streams_with_an_error() -> None:
    """A stream that is cut off by a shutdown says so."""

    async def go() -> None:
        transport = FakeTransport(parts=chunks("a", finish=None), hangs=True)
        made, _ = gateway({"twin": [transport]})
        await made.start()
        browser = Browser(chat(stream=True))
        asking = asyncio.create_task(browser.ask(made))
        await until(lambda: len(browser.sent) == 2)
        made.cut_all()
        await asyncio.wait_for(asking, 5)
        assert "shutting_down" in browser.text
        assert browser.complete
        await made.aclose()
        assert transport.closed

    asyncio.run(go())


def test_more_than_the_limits_is_429_and_nothing_waits() -> None:
    """Of the gateway, of a route, of a model: the next one is refused with Retry-After, the first ones go on."""
    for fields in (
        {"limits": {"concurrency": 2}},
        {"limits": {"routes": {CHAT: 2}}},
        {"models": {"twin": {"concurrency": 2}}},
    ):
        asyncio.run(_fill(fields))


async def _fill(fields: dict[str, Any]) -> None:
    transport = FakeTransport(hangs=True)
    made, _ = gateway({"twin": [transport]}, **fields)
    async with made.running():
        first = [Browser(chat()) for _ in range(2)]
        asking = [asyncio.create_task(each.ask(made)) for each in first]
        await until(lambda: transport.open == 2)
        third = Browser(chat())
        await asyncio.wait_for(third.ask(made), 5)
        assert third.status == 429
        assert (b"retry-after", b"1") in third.sent[0]["headers"]
        for each in first:
            each.gone.set()
        await asyncio.gather(*asking)
        assert at_rest(made)


def test_keys_decide_who_may_do_what() -> None:
    """No key, a wrong one, one for something else, one that has used up what it may: 401, 401, 403, 429."""
    made, _ = gateway({"twin": [FakeTransport(answer=answer())]})
    assert ask(made, chat(), authorization="").status_code == 401
    made, _ = gateway({"twin": [FakeTransport(answer=answer())]})
    refused = ask(made, chat(), authorization="Bearer sk-wrong")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["error"]["type"] == "authentication_error"
    made, _ = gateway({"twin": [FakeTransport()]}, FakeAccess(scopes=frozenset({"models"})))
    assert ask(made, chat()).status_code == 403
    made, _ = gateway({"twin": [FakeTransport()]}, FakeAccess(models=frozenset({"other"})))
    assert ask(made, chat()).status_code == 403
    made, _ = gateway({"twin": [FakeTransport()]}, FakeAccess(full=True))
    limited = ask(made, chat())
    assert limited.status_code == 429
    assert limited.headers["retry-after"] == "3"


def test_a_request_reserves_what_it_may_cost() -> None:
    """The prompt's guess and the longest answer: asked for, else the model's own default."""
    made, access = gateway({"twin": [FakeTransport(answer=answer())]}, models={"twin": {"default_tokens": 50}})
    body = chat()
    ask(made, body)
    assert access.admitted == [("chat", "twin", len(body) // 4 + 50)]
    made, access = gateway({"twin": [FakeTransport(answer=answer())]})
    ask(made, chat(max_tokens=9))
    assert access.admitted[0][2] < 50


def test_pages_say_what_there_is() -> None:
    """Models by key, health without one, counters in Prometheus's words, one OpenAPI document for every route."""

    async def go() -> None:
        made, access = gateway({"twin": [FakeTransport()], "other": [FakeTransport()]})
        async with client(made) as it:
            assert [each["id"] for each in (await it.get("/v1/models")).json()["data"]] == ["twin", "other"]
            access.models = frozenset({"twin"})
            assert [each["id"] for each in (await it.get("/v1/models")).json()["data"]] == ["twin"]
            assert (await it.get("/v1/models/twin")).json()["id"] == "twin"
            assert (await it.get("/v1/models/other")).status_code == 404
            assert (await it.get("/v1/models", headers={"authorization": ""})).status_code == 401
            assert (await it.get("/healthz", headers={"authorization": ""})).status_code == 200
            assert (await it.get("/readyz")).json()["status"] == "ready"
            made.pages.draining = True
            assert (await it.get("/readyz")).status_code == 503
            assert "llmdeploy_gateway_in_flight" in (await it.get("/metrics")).text
            paths = (await it.get("/openapi.json")).json()["paths"]
            assert {CHAT, "/v1/completions", "/v1/embeddings", "/generate", "/generate_stream"} <= paths.keys()
            assert (await it.get("/docs")).status_code == 200
            assert (await it.get(CHAT)).status_code == 405
            assert (await it.post("/healthz")).status_code == 405
            assert (await it.get("/nothing")).json()["error"]["code"] == "not_found"

    asyncio.run(go())


def test_the_log_has_no_prompts_and_no_keys_unless_prompts_are_asked_for() -> None:
    """One line of JSON a request, with ids, counts and times."""
    for prompts in (False, True):
        out = io.BytesIO()
        made, _ = gateway({"twin": [FakeTransport(answer=answer("an answer"))]}, logs={"prompts": prompts})
        made.journal._out = out
        made.journal._requests = True
        ask(made, chat(), **{"x-request-id": "r-7"})
        line = json.loads(out.getvalue())
        assert (line["request_id"], line["model"], line["key"], line["status"]) == ("r-7", "twin", "k1", 200)
        assert (line["prompt_tokens"], line["generated_tokens"]) == (4, 3)
        assert ("hi" in out.getvalue().decode()) is prompts
        assert KEY not in out.getvalue().decode()


def test_other_origins_are_refused_unless_they_are_allowed() -> None:
    """CORS is off by default; an origin that is named gets its headers."""

    async def go(**fields: Any) -> httpx.Response:  # noqa: ANN401 - of the configuration
        made, _ = gateway({"twin": [FakeTransport(answer=answer())]}, **fields)
        async with client(made) as it:
            asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
            return await it.options(CHAT, headers=asked)

    assert "access-control-allow-origin" not in asyncio.run(go()).headers
    allowed = asyncio.run(go(cors={"origins": ["https://app.example"]}))
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, 200),
        ({"host": "127.0.0.1:8000", "origin": "https://evil.example"}, 403),
        ({"host": "rebound.evil.example"}, 403),
    ],
)
def test_without_keys_web_pages_are_kept_away(headers: dict[str, str], status: int) -> None:
    """A page that somebody has open may not use the gateway on their machine, under no name."""
    made, _ = gateway({"twin": [FakeTransport(answer=answer())]}, keys="off")
    assert ask(made, chat(), **headers).status_code == status


async def until(true: Any, seconds: float = 5.0) -> None:  # noqa: ANN401 - a callable
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)


def test_a_reader_that_takes_nothing_is_dropped_while_it_is_told_of_an_error() -> None:
    """A refusal, or the event that ends a stream whose time is over, waits no longer for a reader than an answer."""

    async def refused() -> None:
        made, _ = gateway({"twin": [FakeTransport(answer=b"x")]}, limits={"stall_s": 0.05})
        async with made.running():
            browser = Browser(b"{", stuck=True)
            async with asyncio.timeout(5):
                await browser.ask(made)
        assert at_rest(made)

    async def late() -> None:
        transport = FakeTransport(parts=chunks("a"), hangs=True)
        made, access = gateway({"twin": [transport]}, limits={"stall_s": 0.05}, models={"twin": {"timeout_s": 0.3}})
        async with made.running():
            browser = Browser(chat(stream=True))
            task = asyncio.create_task(browser.ask(made))
            while not browser.sent:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0.01)
            browser.stuck = True
            async with asyncio.timeout(5):
                await task
        assert at_rest(made)
        assert len(access.permits[0].settled) == 1

    asyncio.run(refused())
    asyncio.run(late())


def test_the_log_takes_any_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Lone surrogates of an engine, and bodies nested deeper than the writer goes, do not end the log."""
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    out = io.BytesIO()

    async def go() -> None:
        made, _ = gateway({})
        journal = Journal(made.metrics, requests=True, out=out)
        journal.write({"message": "\ud800"})
        journal.write({"body": deep})
        await asyncio.sleep(0.3)
        journal.write({"message": "last"})
        journal.close()

    asyncio.run(go())
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("message") for line in lines] == ["\ud800", None, "last"]
    assert not capfdbinary.readouterr().err


def test_a_body_that_is_nested_too_deeply_is_refused() -> None:
    """What can be read and not be written again is the caller's error, and no traceback."""
    body = chat()[:-1] + b',"x":' + b"[" * 1010 + b"]" * 1010 + b"}"
    made, access = gateway({"twin": [FakeTransport(answer=answer())]})
    assert ask(made, body).status_code == 400
    assert access.permits[0].settled == [(0, 0)]


def test_the_log_holds_no_words_of_an_answer_that_cannot_be_read() -> None:
    """Unless prompts are wanted there: what a model said is no less personal."""

    def log(**logs: bool) -> str:
        made, _ = gateway({"twin": [FakeTransport(answer=b"my diary")]}, logs={"requests": False, **logs})
        made.journal._out = out = io.BytesIO()
        ask(made, chat())
        return out.getvalue().decode()

    assert "WireFormatError" in log()
    assert "diary" not in log()
    assert "diary" in log(prompts=True)


@pytest.mark.parametrize(("wait_s", "repeat"), [(2.5, "true"), (60, "true"), (61, "false"), (40_000, "false")])
def test_clients_are_not_told_to_try_again_within_a_wait_that_they_do_not_keep(wait_s: float, repeat: str) -> None:
    """The official clients wait for a minute at most, and would use up their tries in vain."""
    told = dict(refusal(RateLimitedError("used up", retry_after_s=wait_s)).headers())
    assert told[b"x-should-retry"] == repeat.encode()
    assert told[b"retry-after"] == str(math.ceil(wait_s)).encode()


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/readyz", "/docs", "/openapi.json", "/nothing"])
def test_pages_are_kept_from_web_pages_too(path: str) -> None:
    """Without keys, names of models and addresses of backends are for this machine; and all have the safety headers."""

    async def go(host: str) -> httpx.Response:
        made, _ = gateway({"twin": [FakeTransport()]}, keys="off")
        async with client(made) as it:
            return await it.get(path, headers={"host": host})

    assert asyncio.run(go("rebound.evil.example")).status_code == 403
    response = asyncio.run(go("127.0.0.1:8000"))
    assert response.status_code == (404 if path == "/nothing" else 200)
    assert response.headers["x-content-type-options"] == "nosniff"


def test_readiness_tries_each_place_once_and_all_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many backends are away, and however many ask; else a load balancer would give up before the answer."""
    tried: list[int] = []

    async def connects(_host: str, port: int) -> bool:
        tried.append(port)
        await asyncio.sleep(0.1)
        return port == 9

    monkeypatch.setattr(pages, "_connects", connects)

    async def go() -> list[httpx.Response]:
        made, _ = gateway({f"m{number}": [FakeTransport()] for number in range(10)})
        async with client(made) as it:
            for number, model in enumerate(made.generations.models.values(), start=1):
                model.backends[0].place = f"http://fake:{number}"
            async with asyncio.timeout(0.8):
                return await asyncio.gather(*(it.get("/readyz") for _ in range(3)))

    responses = asyncio.run(go())
    assert sorted(tried) == list(range(1, 11))
    assert all(response.json()["models"] == {f"m{n}": n == 8 for n in range(10)} for response in responses)
