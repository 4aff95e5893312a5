"""The model server with its real model: tokens, streams, cancellation, overload, garbage."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx  # noqa: TC002 - a conditional block a file is noise
import pytest

from tests.functional.serving.servers import Running, running, sse, wait_for

PROMPT = "The capital of France is"
LONG = {"inputs": "1, 2, 3, 4,", "parameters": {"max_new_tokens": 1500}}
ENDLESS_S = 20  # LONG takes longer than this, so a slot that is free again was freed


def test_it_is_the_real_model(server: Running) -> None:
    """The one fact that this model knows for sure."""
    answer = server.invoke(PROMPT, path="/invocations", max_new_tokens=5)
    assert answer[0]["generated_text"].startswith(" Paris")


def test_same_seed_same_text_other_seed_other_text(server: Running) -> None:
    """A seed decides; the answer names the one that was drawn, and it gives the same again."""

    def text(seed: int | None) -> tuple[str, int]:
        answer = server.invoke("Once upon", max_new_tokens=16, do_sample=True, seed=seed, details=True)
        return answer["generated_text"], answer["details"]["seed"]

    assert text(7) == text(7)
    assert text(7)[0] != text(8)[0]
    drawn, seed = text(None)
    assert text(seed)[0] == drawn


def test_streamed_tokens_and_probabilities_are_the_bare_engines(server: Running, bare: httpx.Client) -> None:
    """Nothing is canned and nothing is lost: ids, texts and log-probabilities of another, bare engine."""
    parameters = {"max_new_tokens": 24, "temperature": 0.7, "top_k": 40, "top_p": 0.9, "seed": 11}
    with server.client() as client:
        events = sse(client.post("/generate_stream", json={"inputs": PROMPT, "parameters": parameters}).text)
    asked = {"prompt": PROMPT, "n_predict": 24, "temperature": 0.7, "top_k": 40, "top_p": 0.9, "seed": 11, "min_p": 0}
    asked |= {
        "n_probs": 1,
        "stream": True,
        "samplers": ["penalties", "temperature", "top_k", "top_p", "typ_p", "min_p"],
    }
    theirs = [each for event in sse(bare.post("/completion", json=asked).text) for each in
              event.get("completion_probabilities", [])]  # fmt: skip
    ours = [event["token"] for event in events]
    assert [(token["id"], token["text"]) for token in ours] == [(token["id"], token["token"]) for token in theirs]
    assert [token["logprob"] for token in ours] == pytest.approx([token["logprob"] for token in theirs], abs=1e-3)
    assert len(ours) == 24


def test_stream_and_plain_answer_are_the_same(server: Running) -> None:
    """Text, tokens and details of a stream are those of the plain answer."""
    parameters: dict[str, Any] = {"max_new_tokens": 20, "stop": ["population"], "details": True}
    plain = server.invoke(PROMPT, **parameters)
    with server.client() as client:
        events = sse(client.post("/generate_stream", json={"inputs": PROMPT, "parameters": parameters}).text)
    assert events[-1]["generated_text"] == plain["generated_text"]
    assert [event["token"] for event in events] == plain["details"]["tokens"]
    assert events[-1]["details"]["finish_reason"] == plain["details"]["finish_reason"] == "stop_sequence"


def test_tgi_keeps_the_stop_string_and_openai_drops_it(server: Running) -> None:
    """Both after the real engines."""
    assert server.invoke("1, 2, 3,", max_new_tokens=20, stop=["6"])["generated_text"] == " 4, 5, 6"
    with server.client() as client:
        body = {"prompt": "1, 2, 3,", "max_tokens": 20, "temperature": 0, "stop": "6"}
        choice = client.post("/v1/completions", json=body).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (" 4, 5, ", "stop")


def test_log_probabilities_with_stop_strings_belong_to_their_tokens(server: Running) -> None:
    """Tokens that the engine held back have their own text, not that of what was let go with them."""
    answer = server.invoke("1, 2, 3,", max_new_tokens=30, stop=[", 5, 7", "6, 7"], details=True)
    texts = [token["text"] for token in answer["details"]["tokens"]]
    assert texts == [" ", "4", ",", " ", "5", ",", " ", "6", ",", " ", "7"]
    assert answer["generated_text"] == "".join(texts)


def test_a_json_schema_binds_the_answer(server: Running) -> None:
    """Whatever the model would like to say, it is JSON of the schema."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    text = server.invoke("A number:", max_new_tokens=40, grammar={"type": "json", "value": schema})["generated_text"]
    assert isinstance(json.loads(text)["n"], int)


def test_a_regular_expression_binds_the_answer(server: Running) -> None:
    """TGI's `regex` grammar, with the slash that ends a regular expression in the engine's language."""
    grammar = {"type": "regex", "value": "[0-9]{2}/[0-9]{2}"}
    text = server.invoke("Date:", max_new_tokens=20, grammar=grammar)["generated_text"]
    assert text[2] == "/"
    assert text.replace("/", "").isdigit()


def open_request(server: Running, body: dict[str, Any]) -> socket.socket:
    """Send a request by hand, so that the connection can be dropped at any moment."""
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_slot_at_once(server: Running, stream: bool) -> None:  # noqa: FBT001 - a parameter
    """Streamed or not, llama.cpp itself reports the slot idle at once: in a second at most, beside other tests."""
    connection = open_request(server, LONG | {"stream": stream})
    wait_for(lambda: server.busy_slots() == 1, 5)
    time.sleep(0.2)  # past the prompt, which is cancelled between batches only
    connection.close()
    assert wait_for(lambda: server.busy_slots() == 0, ENDLESS_S) <= 1.0


def test_forty_at_once_are_all_answered(server: Running) -> None:
    """Four run, the others wait, each greedy answer is the same, and nothing is left running."""
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: server.invoke(PROMPT, max_new_tokens=4)["generated_text"], range(40)))
    assert len(set(answers)) == 1
    assert answers[0].startswith(" Paris")
    assert server.busy_slots() == 0
    with server.client() as client:
        text = client.get("/metrics").text
    assert "llmdeploy_requests_running 0" in text
    assert "llmdeploy_requests_waiting 0" in text


def test_beyond_the_queue_is_429_and_the_queue_moves_on(model: Path, tmp_path: Path) -> None:
    """One slot, two places: the third is told to come back, and the second runs when the first is gone."""
    with running(model, tmp_path, "--parallel", "1", MAX_CONCURRENT_REQUESTS="2") as small:
        first = open_request(small, LONG)
        wait_for(lambda: small.busy_slots() == 1, 5)
        second = threading.Thread(target=small.invoke, args=(PROMPT,), kwargs={"max_new_tokens": 2})
        second.start()
        with small.client() as client:
            wait_for(lambda: "llmdeploy_requests_waiting 1" in client.get("/metrics").text, 5)
            refused = client.post("/generate", json={"inputs": PROMPT})
            assert refused.status_code == 429
            assert refused.json() == {"error": "Model is overloaded", "error_type": "overloaded"}
        first.close()
        second.join(10)
        assert not second.is_alive()


GARBAGE: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"{",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"inputs": null}',
    b'{"inputs": 3}',
    b'{"inputs": "\\ud800"}',
    b'{"inputs": ["a"]}',
    b'{"inputs": "x", "parameters": []}',
    b'{"inputs": "x", "parameters": {"seed": -1}}',
    b'{"inputs": "x", "parameters": {"temperature": NaN}}',
    b'{"messages": [{}]}',
    b'{"prompt": []}',
    b"[" * 50_000,
]


@pytest.mark.parametrize("body", GARBAGE, ids=[str(number) for number in range(len(GARBAGE))])
def test_garbage_is_answered_with_a_reason(server: Running, body: bytes) -> None:
    """A 4xx, a JSON document that says why, no traceback in the log, and the server lives on."""
    with server.client() as client:
        answer = client.post("/invocations", content=body)
        assert answer.status_code in {400, 422}
        assert answer.json()["error"]
        assert client.get("/ping").status_code == 200
    assert "Traceback" not in server.log


def test_a_body_that_is_too_large_is_413(server: Running) -> None:
    """2 MB, as TGI's PAYLOAD_LIMIT."""
    with server.client() as client:
        answer = client.post("/invocations", content=b'{"inputs": "%s"}' % (b"x" * 2_000_000))
    assert answer.status_code == 413
    assert answer.json()["error_type"] == "payload_too_large"


def test_a_prompt_that_is_too_long_is_refused_with_the_counts(server: Running) -> None:
    """In TGI's words; `truncate` is the way around."""
    prompt = "word " * 3000
    with server.client() as client:
        answer = client.post("/invocations", json={"inputs": prompt, "parameters": {"max_new_tokens": 4}})
        assert answer.status_code == 422
        assert "`inputs` tokens + `max_new_tokens` must be <= 2048" in answer.json()["error"]
        parameters = {"max_new_tokens": 2, "truncate": 8, "details": True, "decoder_input_details": True}
        cut = client.post("/generate", json={"inputs": prompt, "parameters": parameters}).json()
    assert len(cut["details"]["prefill"]) == 8


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/generate", 405)])
def test_unknown_paths_and_methods(server: Running, method: str, path: str, status: int) -> None:
    """JSON, as everywhere."""
    with server.client() as client:
        answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_info_models_and_log(server: Running) -> None:
    """Limits and names are told; each request has a line with its times and no word of the prompt."""
    server.invoke("Xylophones are", max_new_tokens=3)
    with server.client() as client:
        info, listed = client.get("/info").json(), client.get("/v1/models").json()
    assert (info["model_id"], info["max_total_tokens"], info["max_parallel_requests"]) == ("tiny", 2048, 4)
    assert [entry["id"] for entry in listed["data"]] == ["tiny"]
    line = [each for each in server.log.splitlines() if "route=/generate " in each][-1]
    assert "generated_tokens=3" in line
    assert all(name in line for name in ("ttft_ms=", "tokens_per_s=", "queue_ms="))
    assert "Xylophones" not in server.log
