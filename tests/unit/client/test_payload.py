"""Payloads in the seed's shape, and whose they are."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_deploy.client.payload import PayloadSlot, request_of, with_parameters
from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import InferenceRequestError

pytestmark = pytest.mark.row("T5")

EMPTY = GenerationRequest()


def prompt(text: str) -> GenerationRequest:
    return GenerationRequest(prompt=text)


def test_the_seeds_payload_is_understood() -> None:
    """Its names, its defaults, and names we do not know, which are passed through."""
    payload = {
        "inputs": "Hi",
        "parameters": {"max_new_tokens": 150, "top_p": 0.9, "temperature": 0.01, "return_full_text": False,
                       "typical_p": 0.3, "stop": "\n", "details": True},
    }  # fmt: skip
    assert request_of(payload) == GenerationRequest(
        prompt="Hi", max_new_tokens=150, top_p=0.9, temperature=0.01, stop=("\n",), extra={"typical_p": 0.3}
    )


def test_other_dialects_names_are_understood() -> None:
    """`max_tokens` and `stop_sequences`; messages for inputs."""
    request = request_of({"messages": [{"role": "user", "content": "Hi"}], "parameters": {"max_tokens": 3}})
    assert request.messages == ({"role": "user", "content": "Hi"},)
    assert request.max_new_tokens == 3
    assert with_parameters(EMPTY, {"stop_sequences": ["a", "b"]}).stop == ("a", "b")


@pytest.mark.parametrize(("said", "temperature"), [({"do_sample": False}, 0.0), ({"do_sample": True}, 1.0)])
def test_do_sample_is_said_by_the_temperature(said: dict[str, bool], temperature: float) -> None:
    """So that it means the same to engines that do not know the word."""
    assert with_parameters(EMPTY, said) == GenerationRequest(temperature=temperature)


def test_parameters_go_before_the_defaults_one_by_one() -> None:
    """Setting one leaves the others."""
    request = with_parameters(GenerationRequest(max_new_tokens=5, top_p=0.9, extra={"a": 1}), {"top_p": 0.5, "b": 2})
    assert (request.max_new_tokens, request.top_p, request.extra) == (5, 0.5, {"a": 1, "b": 2})


def test_a_payload_without_parameters_adds_none() -> None:
    """The engine's defaults stay the engine's."""
    assert json.loads(dialect("openai").encode(request_of({"inputs": "Hi"}), stream=False)) == {
        "prompt": "Hi",
        "stream": False,
    }


def test_what_a_thread_sets_no_other_thread_sees() -> None:
    """And it does not see theirs."""
    slot = PayloadSlot()
    slot.set(prompt("here"))
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(InferenceRequestError, match="thread or task"):
            pool.submit(slot.get, EMPTY).result()
        pool.submit(slot.set, prompt("there")).result()
        assert pool.submit(slot.get, EMPTY).result() == prompt("there")
    assert slot.get(EMPTY) == prompt("here")


def test_what_a_task_sets_neither_its_parent_nor_its_siblings_see() -> None:
    """Tasks that interleave each keep their own."""
    slot = PayloadSlot()

    async def ask(text: str) -> GenerationRequest:
        slot.set(prompt(text))
        await asyncio.sleep(0)
        return slot.get(EMPTY)

    async def both() -> list[GenerationRequest]:
        slot.set(prompt("parent"))
        answers = await asyncio.gather(ask("a"), ask("b"))
        return [*answers, slot.get(EMPTY)]

    assert asyncio.run(both()) == [prompt("a"), prompt("b"), prompt("parent")]


def test_objects_do_not_share_payloads() -> None:
    """Two endpoints in one thread."""
    one, other = PayloadSlot(), PayloadSlot()
    one.set(prompt("one"))
    assert other.get(prompt("default")) == prompt("default")


def test_a_payload_goes_with_its_object() -> None:
    """A service that makes an endpoint object a request does not collect prompts."""
    slot = PayloadSlot()
    slot.set(prompt("secret"))
    gone = weakref.ref(slot)
    del slot
    gc.collect()
    assert gone() is None
