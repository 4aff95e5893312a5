"""The log of requests: one line of JSON each, gathered and written by a thread, dropped when nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any, Final

import orjson

from llm_deploy.gateway.metrics import Metrics, Record

_MOST_LINES: Final = 20_000
_MOST_BATCHES: Final = 16
_GATHER_S: Final = 0.1


class Journal:
    """Counts and writes what has happened.

    Lines are gathered for a moment, so that a thread is woken ten times a second and not with every request.

    Args:
        requests: Whether a line is written for each request.
        out: Where lines go.
    """

    def __init__(self, metrics: Metrics, *, requests: bool, out: IO[bytes] | None = None) -> None:
        self._metrics = metrics
        self._requests = requests
        self._out = out or sys.stderr.buffer
        self._lines: list[Mapping[str, Any]] = []
        self._batches: queue.Queue[list[Mapping[str, Any]]] = queue.Queue(_MOST_BATCHES)
        self._timer: asyncio.TimerHandle | None = None
        self._writer: threading.Thread | None = None

    def end(self, record: Record, prompts: Mapping[str, Any] | None = None) -> None:
        """Count a request that has ended, and write its line. `prompts`: what was asked, if that is wanted."""
        self._metrics.count(record)
        if self._requests:
            self.write({"event": "request", **_fields(record), **(prompts or {})})

    def write(self, document: Mapping[str, Any]) -> None:
        """Write one line; never waits. To be called on the event loop."""
        if len(self._lines) >= _MOST_LINES:
            self._metrics.log_lines_dropped += 1
            return
        self._lines.append({"time": round(time.time(), 3), **document})
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER_S, self._hand_over)

    def close(self) -> None:
        """Write what is waiting; harmless when called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._hand_over()
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(queue.Full):
                self._batches.put([], timeout=1)
            writer.join(timeout=2)

    def _hand_over(self) -> None:
        self._timer = None
        lines, self._lines = self._lines, []
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="gateway-log", daemon=True)
            self._writer.start()
        try:
            self._batches.put_nowait(lines)
        except queue.Full:
            self._metrics.log_lines_dropped += len(lines)

    def _write(self) -> None:
        while lines := self._batches.get():
            data = b"".join([_line(line) for line in lines])
            try:
                self._out.write(data)
                self._out.flush()
            except (OSError, ValueError):
                return  # nobody reads standard error any more


def _line(document: Mapping[str, Any]) -> bytes:
    """One line, whatever is in it: lone surrogates and deep nesting, which orjson refuses, included."""
    try:
        return orjson.dumps(document, default=str) + b"\n"
    except TypeError:
        pass
    try:
        return json.dumps(document, default=str).encode() + b"\n"
    except (ValueError, RecursionError):
        return b'{"event":"warning","message":"a line could not be written"}\n'


def _fields(record: Record) -> dict[str, Any]:
    document = {
        "request_id": record.request_id,
        "route": record.route,
        "status": record.status,
        "model": record.model,
        "key": record.key_id,
        "backend": record.backend,
        "stream": record.stream,
        "refused": record.refused,
        "finish": record.finish,
        "first_ms": None if record.first_s is None else round(record.first_s * 1000, 1),
        "total_ms": round(record.total_s * 1000, 1),
        "prompt_tokens": record.prompt_tokens,
        "generated_tokens": record.generated_tokens,
    }
    return {name: value for name, value in document.items() if value not in ("", None)}
