"""What is asked."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, strategies as st

from llm_deploy.bench.arrivals import Arrival
from llm_deploy.bench.prompts import MAX_LENGTH, Lengths, Prompts, lengths, read
from llm_deploy.errors import SpecError

EIGHT = Lengths("fixed", 8)
TEXTS = ["128", "uniform:64-256", "normal:200,50", "lognormal:200,2"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_distribution_is_written_as_it_is_read(text: str) -> None:
    """So that a report says what to type."""
    assert str(lengths(text, "--input-tokens")) == text


@pytest.mark.parametrize("text", ["", "0", "-1", "uniform:9-3", "normal:5", "x:1,2", "lognormal:0,2", "9" * 40])
def test_what_is_none_is_refused(text: str) -> None:
    """With the option's name and examples."""
    with pytest.raises(SpecError, match="--input-tokens"):
        lengths(text, "--input-tokens")


@given(st.sampled_from(TEXTS), st.integers(0, 2**32))
def test_lengths_are_at_least_one(text: str, seed: int) -> None:
    """Whatever the distribution's tail says."""
    random, found = Random(seed), lengths(text, "")  # noqa: S311 - repeatable on purpose
    assert all(1 <= found.draw(random) <= MAX_LENGTH for _ in range(50))


def test_the_same_seed_asks_the_same() -> None:
    """In the same order; another seed asks something else, and no two prompts begin alike."""
    first, again, other = (
        [made.next().prompt for _ in range(20)]
        for made in (Prompts(seed=seed, output_tokens=EIGHT, input_tokens=Lengths("fixed", 50)) for seed in (1, 1, 2))
    )
    assert first == again != other
    assert len({str(prompt)[:40] for prompt in first}) == 20


def test_a_trace_says_the_lengths() -> None:
    """They go before the distributions'."""
    prompts = Prompts(seed=0, output_tokens=EIGHT, input_tokens=EIGHT)
    asked = prompts.next(Arrival(0.0, 30, 5))
    assert (len(str(asked.prompt).split()), asked.max_new_tokens) == (30, 5)
    asked = prompts.next(Arrival(0.0))
    assert (len(str(asked.prompt).split()), asked.max_new_tokens) == (8, 8)


def test_a_file_is_gone_round_in(tmp_path: Path) -> None:
    """Lines, JSON with a prompt, and chats; each once before any comes again."""
    path = tmp_path / "prompts"
    chat = [{"role": "user", "content": "hello"}]
    path.write_text(f"plain\n\n{json.dumps({'prompt': 'one'})}\n{json.dumps({'messages': chat})}\n")
    prompts = Prompts(seed=3, output_tokens=EIGHT, input_tokens=EIGHT, texts=read(path))
    asked = [prompts.next() for _ in range(6)]
    assert {each.prompt for each in asked[:3]} == {each.prompt for each in asked[3:]} == {"plain", "one", None}
    assert tuple(chat) in [each.messages for each in asked[:3]]


def test_chat_goes_through_the_template() -> None:
    """A made-up prompt is then a user's message."""
    asked = Prompts(seed=0, output_tokens=EIGHT, input_tokens=EIGHT, chat=True).next()
    assert asked.prompt is None
    assert asked.messages is not None
    assert asked.messages[0]["role"] == "user"


@pytest.mark.parametrize("line", ["", '{"prompt": 3}', '{"messages": []}', "{broken"])
def test_a_wrong_file_says_where(tmp_path: Path, line: str) -> None:
    """And what was expected."""
    path = tmp_path / "prompts"
    path.write_text(line)
    with pytest.raises(SpecError, match="prompts"):
        read(path)
