"""What each engine is sent, and how its whole answers are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_deploy.dialects.registry import DIALECTS, asking_order, dialect
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import (
    InferenceError,
    InferenceRequestError,
    OverloadedError,
    SpecError,
    WireFormatError,
)

pytestmark = pytest.mark.row("T5")

FULL = GenerationRequest(
    prompt="Hi", max_new_tokens=5, temperature=0.5, top_p=0.9, top_k=40, repetition_penalty=1.1,
    frequency_penalty=0.2, stop=("\n",), seed=7, logprobs=True, extra={"typical_p": 0.5},
)  # fmt: skip
CHAT = GenerationRequest(messages=({"role": "user", "content": "Hi"},), max_new_tokens=5)


def sent(name: str, request: GenerationRequest, *, stream: bool = False) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(dialect(name).encode(request, stream=stream))
    return document


def test_tgi_is_sent_inputs_and_parameters() -> None:
    """TGI's names; `details` always, for the finish reason and the counts."""
    parameters = {
        "max_new_tokens": 5, "do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 40,
        "repetition_penalty": 1.1, "frequency_penalty": 0.2, "stop": ["\n"], "seed": 7, "return_full_text": False,
        "details": True, "typical_p": 0.5,
    }  # fmt: skip
    assert sent("tgi", FULL) == {"inputs": "Hi", "parameters": parameters, "stream": False}


def test_lmi_names_stop_strings_its_own_way() -> None:
    """LMI's one difference in the request."""
    parameters = sent("lmi", FULL, stream=True)["parameters"]
    assert parameters["stop_sequences"] == ["\n"]
    assert "stop" not in parameters


def test_openai_is_sent_max_tokens() -> None:
    """OpenAI's names; extra parameters at the top level; no model name, since a wrong one is a 404."""
    assert sent("openai", FULL) == {
        "prompt": "Hi", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1,
        "frequency_penalty": 0.2, "stop": ["\n"], "seed": 7, "stream": False, "logprobs": 1, "typical_p": 0.5,
    }  # fmt: skip


def test_a_stream_asks_openai_engines_for_the_usage() -> None:
    """Without `stream_options` an OpenAI stream carries no token counts."""
    assert sent("openai", FULL, stream=True)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_chat_is_said_alike_in_every_dialect(name: str) -> None:
    """Messages go in OpenAI's shape everywhere."""
    assert sent(name, CHAT) == {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stream": False}


def test_an_engine_that_only_chats_gets_the_prompt_as_a_message() -> None:
    """SGLang's `/invocations` takes chat completions only."""
    assert sent("openai-chat", GenerationRequest(prompt="Hi"))["messages"] == [{"role": "user", "content": "Hi"}]


def test_temperature_zero_is_greedy_in_tgi() -> None:
    """TGI refuses temperature 0, top_p 1 and top_k 0; each has another way to be said."""
    parameters = sent("tgi", GenerationRequest(prompt="Hi", temperature=0, top_p=1.0, top_k=0))["parameters"]
    assert parameters == {"do_sample": False, "return_full_text": False, "details": True}
    parameters = sent("tgi", GenerationRequest(prompt="Hi", temperature=1.0, top_p=1.0, top_k=0))["parameters"]
    assert parameters == {"do_sample": True, "temperature": 1.0, "return_full_text": False, "details": True}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "request_",
    [GenerationRequest(), GenerationRequest(prompt="a", messages=()), GenerationRequest(prompt="a", seed=object())],  # type: ignore[arg-type]
)
def test_a_request_that_cannot_be_said_is_refused_before_it_is_sent(name: str, request_: GenerationRequest) -> None:
    """Neither prompt nor messages, both, or what JSON cannot carry."""
    with pytest.raises(InferenceRequestError):
        dialect(name).encode(request_, stream=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_json_are_refused(value: float) -> None:
    """Python would write NaN, which no engine reads."""
    with pytest.raises(InferenceRequestError, match="JSON"):
        dialect("tgi").encode(GenerationRequest(prompt="a", temperature=value), stream=False)


def test_an_unknown_dialect_names_the_known_ones() -> None:
    """The error helps."""
    with pytest.raises(SpecError, match="unknown dialect 'tgj'") as raised:
        dialect("tgj")
    assert "openai" in (raised.value.hint or "")


def test_only_what_may_be_refused_for_its_shape_has_another_way_to_be_said() -> None:
    """Unknown dialects, and OpenAI's, which SGLang speaks by half."""
    orders = {name: [each.name for each in asking_order(name)] for name in DIALECTS}
    assert orders == {
        "tgi": ["tgi"],
        "lmi": ["lmi"],
        "openai-chat": ["openai-chat"],
        "openai": ["openai", "openai-chat"],
        "auto": ["auto", "openai", "openai-chat"],
    }


TGI_ITEM = {
    "generated_text": " Paris",
    "details": {"finish_reason": "eos_token", "generated_tokens": 1, "prefill": [{"id": 1}, {"id": 2}],
                "tokens": [{"id": 5, "text": " Paris", "logprob": -0.25, "special": False}]},
}  # fmt: skip
LMI_ITEM = {"generated_text": " Paris", "details": {"finish reason": "length", "generated_tokens": 1,
            "tokens": [{"id": 5, "text": " Paris", "log_prob": -0.25}]}}  # fmt: skip
CHAT_ANSWER = {"choices": [{"index": 0, "message": {"content": " Paris"}, "finish_reason": "stop",
                            "stop_reason": None}], "usage": {"prompt_tokens": 2, "completion_tokens": 1}}  # fmt: skip
COMPLETION = {"choices": [{"text": " Paris", "finish_reason": "length",
              "logprobs": {"tokens": [" Paris"], "token_logprobs": [-0.25]}}], "usage": None}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "document", "reason", "prompt", "logprobs"),
    [
        ("tgi", [TGI_ITEM], "eos", 2, [-0.25]),
        ("tgi", TGI_ITEM, "eos", 2, [-0.25]),
        ("tgi", CHAT_ANSWER, "eos", 2, []),
        ("lmi", LMI_ITEM, "length", None, [-0.25]),
        ("lmi", [LMI_ITEM], "length", None, [-0.25]),
        ("lmi", CHAT_ANSWER, "eos", 2, []),
        ("openai", CHAT_ANSWER, "eos", 2, []),
        ("openai", COMPLETION, "length", None, [-0.25]),
        ("auto", [TGI_ITEM], "eos", 2, [-0.25]),
        ("auto", COMPLETION, "length", None, [-0.25]),
    ],
)
def test_whole_answers_come_in_one_shape(
    name: str, document: object, reason: str, prompt: int | None, logprobs: list[float]
) -> None:
    """Text, finish reason, counts and tokens, whichever engine answered; `raw` is what it said."""
    answer = dialect(name).decode(json.dumps(document).encode())
    assert (answer.text, answer.finish_reason, answer.counts.prompt) == (" Paris", reason, prompt)
    assert [token.logprob for token in answer.tokens] == logprobs
    assert answer.raw == document


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"[1]", b'"text"', b'{"choices": 5}', b"\xff\xfe"])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_body_that_is_no_answer_is_a_wire_format_error(name: str, body: bytes) -> None:
    """The message quotes its beginning."""
    with pytest.raises(WireFormatError):
        dialect(name).decode(body)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"error": "Model is overloaded", "error_type": "overloaded"}, OverloadedError),
        ({"error": "bad parameter", "code": 400}, InferenceRequestError),
        ({"error": "failed", "code": 424}, InferenceError),
        ({"generated_text": "", "details": {"finish_reason": "error"}}, InferenceError),
        ([{"error": "failed"}], InferenceError),
    ],
)
def test_an_error_with_status_200_is_still_an_error(document: object, kind: type[InferenceError]) -> None:
    """LMI answers errors with HTTP 200."""
    with pytest.raises(kind):
        dialect("lmi").decode(json.dumps(document).encode())
