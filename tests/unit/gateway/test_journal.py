"""The log under adverse conditions: nobody reads it, several write it, and what is said cannot be written as it is."""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from llm_deploy.gateway.journal import Journal
from llm_deploy.gateway.metrics import Metrics

LINE = {"event": "x", "text": "y" * 1000}


@contextmanager
def pipe() -> Iterator[tuple[int, FileIO]]:
    """A pipe: the descriptor that is read, the file that is written."""
    read, write = os.pipe()
    with FileIO(read, "rb"), FileIO(write, "wb") as out:
        yield read, out


def all_of(read: int, out: FileIO) -> list[dict[str, object]]:
    """Everything in a pipe, whose writer is done."""
    out.close()
    with open(read, "rb", closefd=False) as file:
        return [json.loads(line) for line in file]


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_what_does_not_fit_is_counted() -> None:
    """Memory is bounded: lines beyond 8 MiB are dropped and counted, and the end does not wait for a reader."""
    with pipe() as (_, out):
        metrics = Metrics()
        journal = Journal(metrics, requests=True, out=out)
        for _ in range(12_000):
            journal.write(LINE)
        assert 3_000 < metrics.log_lines_dropped < 5_000
        journal.close()


def test_a_pipe_that_may_not_block_gets_every_line() -> None:
    """Who starts the gateway may have made standard error non-blocking; lines are whole even so."""
    with pipe() as (read, out):
        os.set_blocking(out.fileno(), False)
        journal = Journal(Metrics(), requests=True, out=out)
        for _ in range(1000):
            journal.write(LINE)
        data = b""
        while data.count(b"\n") < 1000:
            data += os.read(read, 1 << 20)
        journal.close()
        assert {len(json.loads(line)["text"]) for line in data.splitlines()} == {1000}


def test_lines_for_nobody_are_counted() -> None:
    """A pipe whose reader is gone loses lines; the count says how many."""
    read, write = os.pipe()
    os.close(read)
    with FileIO(write, "wb") as out:
        metrics = Metrics()
        journal = Journal(metrics, requests=True, out=out)
        journal.write(LINE)
        journal.close()
        assert metrics.log_lines_dropped == 1


def test_threads_and_libraries_write_whole_lines_of_json() -> None:
    """Records of Python's logging, with their tracebacks, and warnings come as lines too, while the gateway serves."""
    logger = logging.getLogger("a.library")
    with pipe() as (read, out):
        journal = Journal(Metrics(), requests=True, out=out)
        with journal.libraries():
            threads = [threading.Thread(target=logger.warning, args=("number %d", number)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wrong = logging.makeLogRecord({"msg": "%d", "args": ("no number",), "levelno": 40, "levelname": "ERROR"})
            logging.getLogger().handlers[-1].handle(wrong)
            try:
                int("nought")
            except ValueError:
                logger.exception("failed")
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn("old", stacklevel=1)
            logger.info("not worth a line")
        journal.write({"event": "after", "\ud800": 1 << 70})
        journal.close()
        lines = all_of(read, out)
    said = [line.get("message") for line in lines]
    assert sorted(map(str, said[:8])) == [f"number {number}" for number in range(8)]
    assert said[8:10] == ["%d", "failed"]
    assert "ValueError: invalid literal" in str(lines[9]["traceback"])
    assert "old" in str(said[10])
    assert (lines[11]["event"], lines[11]["\ud800"], len(lines)) == ("after", 1 << 70, 12)


def test_a_log_that_was_closed_can_be_written_again() -> None:
    """What is said at the very end, after the application has closed, is not lost."""
    with pipe() as (read, out):
        journal = Journal(Metrics(), requests=True, out=out)
        for event in ("first", "last"):
            journal.write({"event": event})
            journal.close()
        journal.close()
        assert [line["event"] for line in all_of(read, out)] == ["first", "last"]
