"""What every step of a search has: a name, a span, and its time in the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from llm_deploy.tracing.spans import Span, span

Timings = dict[str, float]
"""Seconds by the step's name, on a monotonic clock."""


@contextmanager
def step(name: str, timings: Timings) -> Iterator[Span]:
    """Time a step and trace it; a step that runs twice adds up."""
    started_s = time.perf_counter()
    with span(f"rag {name}") as seen:
        try:
            yield seen
        finally:
            timings[name] = timings.get(name, 0.0) + time.perf_counter() - started_s
