"""What had to be found out about the engine: each test holds one fact that the adapter is built on."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from llm_deploy.errors import InferenceRequestError, ModelFileError
from llm_deploy.serving.engine import Ending, EngineFailureError, Piece, Sampling, Task
from llm_deploy.serving.library import _sweep
from llm_deploy.serving.llamacpp import LlamaCpp
from tests.functional.serving.servers import sse, wait_for

GREEDY = Sampling(temperature=0)


def generate(engine: LlamaCpp, text: str, **fields: Any) -> list[Piece | Ending]:  # noqa: ANN401 - a task's fields
    async def run() -> list[Piece | Ending]:
        prompt = [token.id for token in await engine.tokenize(text) if token.id is not None]
        return [item async for item in engine.generate(Task(prompt=prompt, **fields))]

    return asyncio.run(run())


def busy(bare: httpx.Client) -> int:
    return sum(slot["is_processing"] for slot in bare.get("/slots").json())


def test_the_engine_is_set_up_as_measured(model: Path) -> None:
    """One thread, small batches, no memory for old prompts, errors only, and a context for each slot."""
    namespace = SimpleNamespace
    engine = LlamaCpp(model, context_tokens=512, parallel=3)
    engine._library._folder = Path("/private")
    empty = namespace(model=namespace(), cpuparams=namespace(), cpuparams_batch=namespace())
    got = engine._library._parameters(empty, model, engine._set)
    assert (got.cpuparams.n_threads, got.cpuparams_batch.n_threads) == (1, 1)
    assert (got.n_batch, got.n_ubatch, got.cache_ram_mib, got.verbosity) == (256, 256, 0, 1)
    assert (got.n_ctx, got.n_parallel) == (3 * 512, 3)
    assert got.hostnames == ["/private/engine.sock"]


def test_threads_do_not_spin(engine: LlamaCpp) -> None:
    """Waiting is passive, one thread works while there is work, and none while there is none."""
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    wall, cpu = time.monotonic(), time.process_time()
    generate(engine, "1, 2, 3,", max_new_tokens=24, sampling=GREEDY)
    assert time.process_time() - cpu < 1.3 * (time.monotonic() - wall)
    cpu = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - cpu < 0.1


def test_the_socket_is_private(engine: LlamaCpp) -> None:
    """Nobody else on this machine can talk to the engine, which has no key."""
    assert engine.socket.parent.stat().st_mode & 0o077 == 0


def test_sockets_of_killed_servers_are_swept(engine: LlamaCpp, tmp_path: Path) -> None:
    """An old socket that refuses goes with its directory; one that answers, or may not listen yet, stays."""
    dead, young = tmp_path / "llmd-dead", tmp_path / "llmd-young"
    dead.mkdir()
    young.mkdir()
    for folder, age_s in ((dead, 120), (young, 0)):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "engine.sock"))
        then_s = time.time() - age_s
        os.utime(folder / "engine.sock", (then_s, then_s))
    alive = tmp_path / "llmd-alive"
    alive.symlink_to(engine.socket.parent)
    _sweep(tmp_path)
    assert (dead.exists(), young.exists(), engine.socket.exists()) == (False, True, True)


def test_closing_a_generation_frees_its_slot(engine: LlamaCpp, bare: httpx.Client) -> None:
    """Because every request is streamed inside."""

    async def run() -> None:
        items = engine.generate(Task(prompt=[1, 2, 3], max_new_tokens=1500))
        await anext(items)
        assert await engine.busy() == 1
        await items.aclose()

    asyncio.run(run())
    assert wait_for(lambda: busy(bare) == 0, 5) <= 1.0


def test_a_request_that_is_not_streamed_is_not_cancelled(bare: httpx.Client, engine: LlamaCpp) -> None:
    """The reason for streaming always; the day this fails, the adapter can be simpler (upstream #9273)."""
    # Long enough for a fast machine to be still at it, and not ended by the model's own end mark.
    question = {"prompt": "1, 2, 3,", "n_predict": 250, "ignore_eos": True, "temperature": 0}
    with (
        pytest.raises(httpx.ReadTimeout),
        httpx.Client(transport=httpx.HTTPTransport(uds=str(engine.socket)), base_url="http://engine") as client,
    ):
        client.post("/completion", json=question, timeout=0.3)
    time.sleep(0.3)
    assert busy(bare) == 1
    wait_for(lambda: busy(bare) == 0, 60)


def test_a_long_prompt_is_cancelled_between_batches(engine: LlamaCpp, bare: httpx.Client) -> None:
    """256 tokens a batch: the slot is free before half of the 1,900 tokens are read.

    The slots are asked about once, not in a loop: llama.cpp looks for closed connections only after a second without
    any result, and an answer about its slots is a result.
    """

    async def run() -> None:
        task = asyncio.create_task(anext(engine.generate(Task(prompt=list(range(100, 2000)), max_new_tokens=4))))
        await asyncio.sleep(0.3)
        assert await engine.busy() == 1
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(run())
    time.sleep(7)  # reading all of it takes 13 s of CPU or more
    assert busy(bare) == 0


def test_every_sampling_default_is_sent(engine: LlamaCpp, bare: httpx.Client) -> None:
    """llama.cpp's own defaults are not neutral; what it reports about our request is."""

    def settings(document: dict[str, Any]) -> dict[str, Any]:
        events = sse(bare.post("/completion", json=document | {"stream": True, "n_predict": 1}).text)
        found: dict[str, Any] = events[-1]["generation_settings"]
        return found

    theirs = settings({"prompt": [1]})
    assert (theirs["top_k"], theirs["temperature"]) == (40, pytest.approx(0.8))
    ours = settings(engine.document(Task(prompt=[1], max_new_tokens=1)))
    neutral = {"temperature": 1, "top_k": 0, "top_p": 1, "typical_p": 1, "min_p": 0, "repeat_penalty": 1}
    neutral |= {"repeat_last_n": 2048, "dry_multiplier": 0, "xtc_probability": 0, "mirostat": 0, "presence_penalty": 0}
    assert {name: ours[name] for name in neutral} == pytest.approx(neutral)


def test_repeat_last_n_of_minus_one_is_refused(bare: httpx.Client) -> None:
    """The reason for sending the context's size."""
    assert bare.post("/completion", json={"prompt": "x", "n_predict": 1, "repeat_last_n": -1}).status_code == 400


def test_a_character_of_several_tokens_is_one_piece(engine: LlamaCpp) -> None:
    """It has the last token's id, and the count tells how many there were."""
    party = "🎉"
    prompt = f"Repeat: {party * 8} again: {party * 4}"
    pieces = [item for item in generate(engine, prompt, max_new_tokens=9, sampling=GREEDY) if isinstance(item, Piece)]
    assert party in {piece.text for piece in pieces}
    numbers = [0, *[piece.generated for piece in pieces]]
    jumps = {piece.text: piece.generated - before for piece, before in zip(pieces, numbers, strict=False)}
    assert jumps[party] > 1


def test_the_end_token_is_special_and_not_text(engine: LlamaCpp) -> None:
    """llama.cpp gives it no text; the file's vocabulary does."""
    prompt = "<|im_start|>user\nAnswer yes.<|im_end|>\n<|im_start|>assistant\nYes."
    *_, last, ending = generate(engine, prompt, max_new_tokens=40, sampling=GREEDY)
    assert isinstance(last, Piece)
    assert (last.text, last.token.text, last.token.special) == ("", "<|im_end|>", True)
    assert isinstance(ending, Ending)
    assert ending.reason == "eos"


def test_what_llguidance_refuses_binds_nothing(bare: httpx.Client) -> None:
    """The reason for checking schemas before: the engine answers 200 and ignores this one."""
    body = {"prompt": "x", "n_predict": 3, "json_schema": {"type": "foo"}}
    assert bare.post("/completion", json=body).status_code == 200


@pytest.mark.parametrize("fields", [{"grammar": "root ::= ("}, {"stop": ()}])
def test_what_the_engine_refuses_is_an_error_and_it_lives_on(engine: LlamaCpp, fields: dict[str, Any]) -> None:
    """A bad grammar, and a prompt that is longer than the context."""
    text = "x" if "grammar" in fields else "word " * 2100
    with pytest.raises(InferenceRequestError):
        generate(engine, text, max_new_tokens=2, **fields)
    assert generate(engine, "x", max_new_tokens=1)


def test_a_file_that_breaks_off_cannot_be_loaded(model: Path, tmp_path: Path) -> None:
    """A good head is not enough; the error says what to do."""
    short = tmp_path / "short.gguf"
    short.write_bytes(model.read_bytes()[:8_000_000])
    engine = LlamaCpp(short)
    with pytest.raises(ModelFileError, match="cannot load") as caught:
        engine.load()
    assert caught.value.hint
    assert not engine.ready


def test_the_context_is_cut_to_what_the_model_was_trained_for(model: Path) -> None:
    """llama.cpp would take any number, slowly."""
    assert LlamaCpp(model, context_tokens=100_000).facts.context_tokens == 8192


def test_closing_the_engine_ends_what_is_under_way(model: Path) -> None:
    """Its destructor waits for every request while it holds Python's lock, so connections are ended first."""

    async def run() -> None:
        own = LlamaCpp(model, context_tokens=512, parallel=1)
        await asyncio.to_thread(own.load)
        items = own.generate(Task(prompt=[1, 2, 3], max_new_tokens=400))
        await anext(items)
        await asyncio.wait_for(asyncio.to_thread(own.close), 20)
        with pytest.raises(EngineFailureError):
            async for _ in items:
                pass

    asyncio.run(run())
