"""A row of windows in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from llm_deploy.bench.windows import Windows, total

TIMES = st.lists(st.floats(0, 5000), min_size=1, max_size=100)


@given(TIMES)
def test_nothing_is_lost_when_widths_double(times: list[float]) -> None:
    """However long it takes: never more windows than allowed, and every count is in the window of its time."""
    windows = Windows(width_s=0.5, most=16)
    for time_s in times:
        windows.at(time_s).due += 1
        windows.at(time_s).ttft.record(time_s)
    assert len(windows) <= 16
    assert total(windows).due == total(windows).ttft.count == len(times)
    for index, window in enumerate(windows):
        inside = [each for each in times if int(each / windows.width_s) == index]
        assert window.due == len(inside)


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9)), max_size=50))
def test_concurrency_adds_up(steps: list[tuple[float, int]]) -> None:
    """The seconds of requests under way are those of the steps, however they are spread over windows."""
    windows, at_s, expected = Windows(width_s=0.5, most=16), 0.0, 0.0
    for length_s, under_way in steps:
        windows.busy(at_s, at_s + length_s, under_way)
        expected += length_s * under_way
        at_s += length_s
    assert total(windows).busy_s == pytest.approx(expected, abs=1e-6)


def test_a_stretch_begins_with_a_window() -> None:
    """Windows that begin inside, not those that only end there."""
    windows = Windows(width_s=1.0)
    for time_s in range(10):
        windows.at(time_s).due = time_s
    assert [window.due for window in windows.between(2.5, 6)] == [3, 4, 5]
