"""The log: a line of JSON for each request, error and warning, written by a thread, dropped when nobody reads.

A pipe that nobody reads stops whoever writes into it. So only this thread writes to standard error while the gateway
serves, and past Python's own buffer: whoever waits in there holds a lock that others, and the interpreter's end, need.
"""

from __future__ import annotations

import io
import json
import logging
import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import orjson

from llm_deploy.gateway.metrics import Metrics, Record

_MOST_BYTES: Final = 8 * 1024 * 1024
"""Wait to be written at most; then lines are dropped."""
_GATHER_S: Final = 0.25
_LAST_WORDS_S: Final = 2.0
_STANDARD_ERROR: Final = 2


class Out(Protocol):
    """A raw file: it has no buffer of its own."""

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Write some of it and tell how much; `None`: nothing fits just now."""

    def fileno(self) -> int:
        """The descriptor."""


class Journal:
    """Counts and writes what has happened. Any thread may write, and none waits.

    Lines are gathered for a moment, so that the thread is woken four times a second and not with every request.

    Args:
        requests: Whether a line is written for each request.
        out: Where lines go; standard error.
    """

    def __init__(self, metrics: Metrics, *, requests: bool, out: Out | None = None) -> None:
        self._metrics = metrics
        self._requests = requests
        self._out = out
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._held_bytes = 0
        self._some = threading.Event()
        self._ending = threading.Event()
        self._writer: threading.Thread | None = None

    def end(self, record: Record, prompts: Mapping[str, Any] | None = None) -> None:
        """Count a request that has ended, and write its line. `prompts`: what was asked, if that is wanted."""
        self._metrics.count(record)
        if self._requests:
            self.write({"event": "request", **_fields(record), **(prompts or {})})

    def write(self, document: Mapping[str, Any]) -> None:
        """Write one line; never waits."""
        line = _line({"time": round(time.time(), 3), **document})
        with self._lock:
            if self._held_bytes + len(line) > _MOST_BYTES:
                self._metrics.log_lines_dropped += 1
                return
            self._held_bytes += len(line)
            self._lines.append(line)
            if len(self._lines) == 1:
                self._wake()

    def close(self) -> None:
        """Write what is waiting, if it is read within two seconds; harmless when called again."""
        with self._lock:
            writer, self._writer = self._writer, None
            self._ending.set()
            self._some.set()
        if writer is not None:
            writer.join(_LAST_WORDS_S)

    @contextmanager
    def libraries(self) -> Iterator[None]:
        """In here, write what libraries log as well: uvicorn, asyncio, and our own modules; from warnings on."""
        root, handler = logging.getLogger(), _Handler(self)
        root.addHandler(handler)
        logging.captureWarnings(capture=True)
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)
            root.removeHandler(handler)

    def _wake(self) -> None:
        if self._writer is None:
            self._ending = threading.Event()
            self._writer = threading.Thread(target=self._work, args=(self._ending,), name="gateway-log", daemon=True)
            self._writer.start()
        self._some.set()

    def _work(self, ending: threading.Event) -> None:
        out = self._out or _standard_error()
        while True:
            if not ending.is_set():
                self._some.wait()
                ending.wait(_GATHER_S)
            with self._lock:
                self._some.clear()
                lines, self._lines = self._lines, []
            if not lines and ending.is_set():
                return
            self._settle(lines, written=_written(out, b"".join(lines)))

    def _settle(self, lines: list[bytes], *, written: bool) -> None:
        with self._lock:
            self._held_bytes -= sum(map(len, lines))
            self._metrics.log_lines_dropped += 0 if written else len(lines)


class _Handler(logging.Handler):
    """Puts the records of Python's logging into the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # its arguments do not fit its text
            message = str(record.msg)
        document = {"event": "log", "level": record.levelname.lower(), "logger": record.name, "message": message}
        if record.exc_info:
            document["traceback"] = self._formatter.formatException(record.exc_info)
        self._journal.write(document)


def _standard_error() -> Out | None:
    """Standard error without a buffer; `None` where the process has none."""
    try:
        return io.FileIO(_STANDARD_ERROR, "wb", closefd=False)
    except OSError:
        return None


def _written(out: Out | None, data: bytes) -> bool:
    """Write all of it, however long that takes; tell whether anybody can have read it."""
    rest = memoryview(data)
    try:
        while rest and out is not None:
            taken = out.write(rest)
            if taken is None:  # the pipe is full, and whoever made it wants no waiting in `write`
                select.select([], [out], [])
            rest = rest[taken or 0 :]
    except (OSError, ValueError):
        return False
    return out is not None


def _line(document: Mapping[str, Any]) -> bytes:
    """One line, whatever is in it: lone surrogates and deep nesting, which orjson refuses, included."""
    try:
        return orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE)
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
