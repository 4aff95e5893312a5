"""The queue and the thread behind each exporter."""

from __future__ import annotations

import sqlite3

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from llm_deploy.tracing.counts import Counts
from llm_deploy.tracing.delivery import BATCH, BATCH_BYTES, Delivery
from tests.fakes.exporters import ToldExporter

LONG_S = 20.0


def delivery(exporter: ToldExporter, *, most_spans: int = 10_000, most_bytes: int = 10**9) -> Delivery:
    """With nothing to scrub."""
    return Delivery(exporter, name="told", scrub=lambda span: span, most_spans=most_spans, most_bytes=most_bytes)


def test_what_is_offered_is_delivered_in_order() -> None:
    """At the latest when it is closed; then the exporter is shut down, once."""
    exporter = ToldExporter()
    made = delivery(exporter)
    for number in range(3 * BATCH + 1):
        made.offer(ReadableSpan(str(number)))
    made.close(LONG_S)
    assert exporter.names == [str(number) for number in range(3 * BATCH + 1)]
    assert max(exporter.batches) <= BATCH
    assert made.counts() == Counts(exported=3 * BATCH + 1)
    assert exporter.shut_down == 1


def test_a_full_queue_drops_and_counts() -> None:
    """Nobody waits while the exporter hangs, and no more waits than is allowed."""
    exporter = ToldExporter()
    exporter.open.clear()
    made = delivery(exporter, most_spans=10)
    made.offer(ReadableSpan("first"))
    assert exporter.entered.wait(LONG_S)
    for number in range(100):
        made.offer(ReadableSpan(str(number)))
    assert made.counts() == Counts(dropped=90)
    exporter.open.set()
    made.close(LONG_S)
    assert made.counts() == Counts(exported=11, dropped=90)


def test_the_queue_is_bounded_in_bytes_as_well() -> None:
    """Prompts can be long; a batch of long ones is smaller."""
    exporter = ToldExporter()
    exporter.open.clear()
    made = delivery(exporter, most_bytes=3 * BATCH_BYTES)
    made.offer(ReadableSpan("first"))
    assert exporter.entered.wait(LONG_S)
    for _ in range(10):
        made.offer(ReadableSpan("long", attributes={"a": "x" * (BATCH_BYTES // 2)}))
    assert made.counts().dropped == 5
    exporter.open.set()
    made.close(LONG_S)
    assert max(exporter.batches) <= 2


@pytest.mark.parametrize("error", [OSError("disk full"), sqlite3.OperationalError("locked"), ValueError("x"), None])
def test_the_thread_outlives_an_exporter_that_fails(error: Exception | None) -> None:
    """A batch is given up and counted; the next is tried."""
    exporter = ToldExporter()
    exporter.raises, exporter.refuses = error, True
    made = delivery(exporter)
    made.offer(ReadableSpan("lost"))
    while not made.counts().failed:
        assert exporter.entered.wait(LONG_S)
    exporter.raises, exporter.refuses = None, False
    made.offer(ReadableSpan("kept"))
    made.close(LONG_S)
    assert exporter.names == ["kept"]
    assert made.counts() == Counts(exported=1, failed=1)


def test_closing_does_not_wait_longer_than_it_may() -> None:
    """What is left then is dropped and counted, and so is what comes later."""
    exporter = ToldExporter()
    exporter.open.clear()
    made = delivery(exporter)
    made.offer(ReadableSpan("held"))
    assert exporter.entered.wait(LONG_S)
    made.offer(ReadableSpan("waiting"))
    made.close(0.05)
    made.offer(ReadableSpan("late"))
    assert made.counts() == Counts(dropped=2)
    made.close(0.05)
    exporter.open.set()


def test_failures_are_said_once_and_not_for_each_batch(caplog: pytest.LogCaptureFixture) -> None:
    """One line when it begins, another when it is over; a minute must pass before it is said again."""
    exporter = ToldExporter()
    exporter.refuses = True
    made = delivery(exporter)
    for number in range(5 * BATCH):
        made.offer(ReadableSpan(str(number)))
    while made.counts().failed < 5 * BATCH:
        assert exporter.entered.wait(LONG_S)
    said = [record.getMessage() for record in caplog.records]
    made.close(LONG_S)
    assert len(said) == 1
    assert "does not take spans" in said[0]
