"""Following a log: each line once, also those that become visible late."""

from __future__ import annotations

from itertools import islice

from llm_deploy.cli.logs import OVERLAP_MS, _new_lines
from llm_deploy.targets.sagemaker.logs import LogLine


def line(time_ms: int) -> LogLine:
    return LogLine(time_ms, "group", "stream", f"at {time_ms}", f"id-{time_ms}")


def test_each_line_comes_once_and_late_ones_too() -> None:
    """A look goes back some seconds behind the newest line; what was shown is left out."""
    newest = 100_000
    visible = [[line(newest)], [line(newest - 500), line(newest)], [], [line(newest + 1)]]
    asked: list[int] = []

    def read(since_ms: int) -> list[LogLine]:
        asked.append(since_ms)
        return visible[len(asked) - 1]

    lines = _new_lines(read, [line(newest)], 0, sleep=lambda _: None)
    assert [item.time_ms for item in islice(lines, 2)] == [newest - 500, newest + 1]
    assert asked == [newest - OVERLAP_MS] * 4


def test_following_never_goes_back_before_since() -> None:
    """With --since and nothing to show yet, old lines stay away."""
    asked: list[int] = []

    def read(since_ms: int) -> list[LogLine]:
        asked.append(since_ms)
        return [line(50_005)] if len(asked) == 2 else []

    assert next(_new_lines(read, [], 50_000, sleep=lambda _: None)).time_ms == 50_005
    assert asked == [50_000, 50_000]
