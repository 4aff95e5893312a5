"""When requests are due."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, strategies as st

from llm_deploy.bench.arrivals import Arrival, constant, poisson, trace, until
from llm_deploy.errors import SpecError

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,10,20
2023-11-16 18:17:04.9799600,11,
2023-11-16 18:17:06.9799600,12,22
"""
JSON_LINES = """{"at": 5, "input_tokens": 10, "output_tokens": 20}

{"at": 6, "prompt_tokens": 11}
{"at": 8, "input_tokens": 12, "output_tokens": 22}
"""


def test_a_constant_rate_does_not_drift() -> None:
    """The millionth request is due when arithmetic says so."""
    found = next(itertools.islice(constant(7.0), 1_000_000, None))
    assert found.at_s == 1_000_000 / 7


@given(st.floats(0.1, 1000), st.integers(0, 2**32))
def test_poisson_arrivals_are_at_their_rate(rate: float, seed: int) -> None:
    """2,000 arrivals take 2,000 / rate seconds, within five standard deviations; they never go back."""
    times = [arrival.at_s for arrival in itertools.islice(poisson(rate, Random(seed)), 2000)]  # noqa: S311 - repeatable on purpose
    assert times == sorted(times)
    assert abs(times[-1] * rate - 2000) < 5 * 2000**0.5


def test_poisson_gaps_are_exponential() -> None:
    """Their standard deviation is their mean; constant ones have none."""
    times = [arrival.at_s for arrival in itertools.islice(poisson(10, Random(1)), 20_000)]  # noqa: S311 - repeatable on purpose
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.05)


def test_arrivals_end_with_their_time() -> None:
    """What is due at the end or later is not sent."""
    assert len(list(until(constant(10), 1.0))) == 10


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,input_tokens,output_tokens\n100.5,10,20\n101.5,11,\n103.5,12,22\n",
        AZURE,
        JSON_LINES,
    ],
)
def test_a_trace_is_read(tmp_path: Path, text: str) -> None:
    """CSV and JSON lines, seconds and dates, our names and Azure's; times count from the first line."""
    path = tmp_path / "trace"
    path.write_text(text)
    first, second, third = trace(path)
    assert (first, second.input_tokens, second.output_tokens) == (Arrival(0.0, 10, 20), 11, None)
    assert [second.at_s, third.at_s] == pytest.approx([1.0, 3.0])
    assert [each.at_s for each in trace(path, 2.0)] == pytest.approx([0.0, 0.5, 1.5])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestamp\n1\nsoon\n", "line 3"),
        ("timestamp\n2\n1\n", "before that of the line above"),
        ("when\n1\n", "none of timestamp, time, at, arrival"),
        ("timestamp,input_tokens\n1,-4\n", "no number of tokens"),
        ("timestamp\nnan\n", "no time"),
        ('{"at": 1}\n{"at"\n', "line 2 of the trace is no JSON"),
        ('{"at": 1}\n[]\n', "no JSON object"),
        ("timestamp\n" + "1" * 5000, "more than 4096 characters"),
    ],
)
def test_a_wrong_trace_says_where(tmp_path: Path, text: str, said: str) -> None:
    """The line and what is wrong with it."""
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(SpecError, match=said):
        list(trace(path))


def test_a_trace_is_not_read_at_once(tmp_path: Path) -> None:
    """A wrong line at its end does not keep the first ones from being sent: a trace may be larger than memory."""
    path = tmp_path / "trace"
    path.write_text("\n".join(json.dumps({"at": number}) for number in range(5)) + "\nbroken")
    assert len(list(itertools.islice(trace(path), 5))) == 5
