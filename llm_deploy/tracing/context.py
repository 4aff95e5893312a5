"""The current span across process and thread borders: W3C `traceparent` in headers, `carry` for executors."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeVar

from llm_deploy.tracing.spans import NOTHING, current_recorder

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

CARRIED = ("traceparent", "tracestate")
LONGEST_HEADER = 512
"""Characters of a `tracestate` that everybody must pass on. Source: W3C Trace Context, section 3.3.1.5."""


def extract(headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[object]:
    """A block whose spans continue the trace of who sent these headers, if there is a valid `traceparent` in them.

    Takes a mapping, or ASGI's pairs of bytes. A header that is malformed or too long is as none.
    """
    recorder = current_recorder()
    return NOTHING if recorder is None else recorder.extract(_carried(headers))


def inject(headers: dict[str, str]) -> None:
    """Add `traceparent` (and `tracestate`) of the current span to the headers of a request; nothing without one."""
    recorder = current_recorder()
    if recorder is not None:
        recorder.inject(headers)


def carry(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """The same function, run elsewhere with the span that is current here: `pool.submit(carry(work))`. For one call."""
    if current_recorder() is None:
        return function
    here = contextvars.copy_context()

    def carried(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Result:
        return here.run(function, *arguments, **named)

    return carried


def _carried(headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    if isinstance(headers, Mapping):
        pairs = ((name.lower(), value) for name, value in headers.items())
    else:
        pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return {name: value for name, value in pairs if name in CARRIED and len(value) <= LONGEST_HEADER}
