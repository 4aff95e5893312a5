"""The store on this machine: what is written, who may read it, and how large it gets."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from llm_deploy.errors import NotFoundError, SpecError
from llm_deploy.tracing import figures
from llm_deploy.tracing.config import Local
from llm_deploy.tracing.reading import StoredSpan, Wanted, json_lines, opened, own_usage
from llm_deploy.tracing.resend import restored
from llm_deploy.tracing.store import LocalStore, used_bytes
from llm_deploy.tracing.store_place import remove

S = 1_000_000_000
NOW_S = 1_700_000_000.0


def span(  # noqa: PLR0917 - a span has many fields
    trace: int, number: int, parent: int | None = None, at_s: float = NOW_S, took_s: float = 1.0, error: str = "",
    attributes: Mapping[str, Any] | None = None,
) -> ReadableSpan:  # fmt: skip
    """One ended span; number 1 is a trace's first."""

    def context(of: int) -> SpanContext:
        return SpanContext(trace, of, is_remote=False, trace_flags=TraceFlags(1))

    return ReadableSpan(
        f"span {number}",
        context=context(number),
        parent=context(parent) if parent else None,
        attributes={**(attributes or {})} | ({"error.type": error} if error else {}),
        status=Status(StatusCode.ERROR, "why") if error else Status(),
        start_time=int(at_s * S),
        end_time=int((at_s + took_s) * S),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place in a folder that is not there yet."""
    return tmp_path / "state" / "traces.db"


@pytest.fixture
def store(path: Path) -> Iterator[LocalStore]:
    """A store whose clock stands still."""
    made = LocalStore(path, Local(), clock=lambda: NOW_S)
    yield made
    made.shutdown()


def test_only_its_owner_may_read_it(store: LocalStore, path: Path) -> None:
    """File, SQLite's companions, and the folder."""
    store.export([span(1, 1)])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) >= {"traces.db", "traces.db-wal"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_in_its_place_is_not_followed(store: LocalStore, path: Path) -> None:
    """Else somebody could have us write into another file."""
    path.parent.mkdir()
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        store.export([span(1, 1)])
    assert not (path.parent / "elsewhere").exists()


def test_what_is_written_is_read_back(store: LocalStore, path: Path) -> None:
    """And can be made OpenTelemetry's again."""
    provider = TracerProvider(shutdown_on_exit=False)
    made = provider.get_tracer("x").start_span(
        "chat twin", attributes={"gen_ai.request.model": "twin", "l": ["a", "b"]}
    )
    made.add_event("e", {"n": 1})
    made.set_status(Status(StatusCode.ERROR, "why"))
    made.set_attribute("error.type", "Boom")
    made.end()
    assert isinstance(made, ReadableSpan)
    store.export([made])
    with opened(path) as reader:
        (found,) = reader.spans(reader.named("last"))
    assert (found.name, found.model, found.error_type, found.message) == ("chat twin", "twin", "Boom", "why")
    again = restored(found)
    assert again.to_json(indent=None).split('"resource"')[0] == made.to_json(indent=None).split('"resource"')[0]
    assert next(json_lines([found])).startswith('{"trace_id": "')


def test_old_traces_go(store: LocalStore, path: Path) -> None:
    """By the age that is allowed."""
    store.export([span(1, 1, at_s=NOW_S - 15 * 86_400), span(2, 1, at_s=NOW_S - 13 * 86_400)])
    with opened(path) as reader:
        assert [one.trace_id for one in reader.traces(Wanted())] == [f"{2:032x}"]


def test_it_stays_below_its_size(path: Path) -> None:
    """The oldest go first, and the file gets no larger than allowed by much."""
    moment = [NOW_S]
    store = LocalStore(path, Local(max_mib=1), clock=lambda: moment[0])
    for number in range(1, 200):
        moment[0] += 60
        store.export([span(number, 1, at_s=moment[0], attributes={"content": "x" * 30_000})])
    store.shutdown()
    with opened(path) as reader:
        kept = reader.traces(Wanted(limit=1000))
        assert used_bytes(reader._database) <= 1024 * 1024
    assert kept[0].trace_id == f"{199:032x}"
    assert 10 < len(kept) < 40
    assert path.stat().st_size < 2 * 1024 * 1024


def test_several_writers_share_it(path: Path) -> None:
    """As a gateway's workers do."""

    def write(base: int) -> None:
        store = LocalStore(path, Local(), clock=lambda: NOW_S)
        for number in range(20):
            store.export([span(base + number, 1)])
        store.shutdown()

    threads = [threading.Thread(target=write, args=(base,)) for base in (1, 101, 201)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened(path) as reader:
        assert len(reader.traces(Wanted(limit=1000))) == 60


def test_a_store_that_was_deleted_is_made_again(store: LocalStore, path: Path) -> None:
    """`traces clear` while a service runs."""
    store.export([span(1, 1)])
    assert {file.name for file in remove(path)} >= {"traces.db"}
    store.export([span(2, 1)])
    with opened(path) as reader:
        assert [one.trace_id for one in reader.traces(Wanted())] == [f"{2:032x}"]


def test_a_file_that_is_something_else_is_left_alone(store: LocalStore, path: Path) -> None:
    """Writing raises, reading says so."""
    path.parent.mkdir()
    path.write_bytes(b"my diary, and nothing of yours" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        store.export([span(1, 1)])
    with pytest.raises(SpecError, match="cannot be read"), opened(path) as reader:
        reader.traces(Wanted())
    assert path.read_bytes().startswith(b"my diary")


def test_nothing_stored_is_said(path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(NotFoundError, match="no traces"), opened(path):
        pass


def test_traces_are_found_by_what_is_asked_for(store: LocalStore, path: Path) -> None:
    """Newest first, slowest first, with errors, of a model, since a moment."""
    store.export([
        span(1, 1, at_s=NOW_S - 30, took_s=9), span(1, 2, 1, at_s=NOW_S - 30, error="Boom"),
        span(2, 1, at_s=NOW_S - 20, took_s=1), span(2, 2, 1, attributes={"gen_ai.request.model": "twin"}),
        span(3, 1, at_s=NOW_S - 10, took_s=5),
    ])  # fmt: skip
    with opened(path) as reader:

        def found(wanted: Wanted) -> list[int]:
            return [int(one.trace_id, 16) for one in reader.traces(wanted)]

        assert found(Wanted()) == [3, 2, 1]
        assert found(Wanted(slowest_first=True)) == [1, 3, 2]
        assert found(Wanted(errors=True)) == [1]
        assert found(Wanted(model="twin")) == [2]
        assert found(Wanted(since_ns=int((NOW_S - 25) * S))) == [3, 2]
        assert found(Wanted(limit=1)) == [3]
        assert reader.traces(Wanted(errors=True))[0].error_type == "Boom"


def test_a_trace_is_named_by_the_beginning_of_its_id(store: LocalStore, path: Path) -> None:
    """If that is one trace's alone."""
    store.export([span(0xAAAA << 112, 1), span((0xAAAA << 112) + 1, 1), span(0xBBBB << 112, 1)])
    with opened(path) as reader:
        assert reader.named("bbbb").startswith("bbbb")
        with pytest.raises(SpecError, match="several"):
            reader.named("aaaa")
        with pytest.raises(NotFoundError):
            reader.named("cccc")
        for wrong in ("b", "b*b*", "last1", "'; drop"):
            with pytest.raises(SpecError, match="no trace"):
                reader.named(wrong)


def test_tokens_that_a_span_repeats_from_below_count_once(store: LocalStore, path: Path) -> None:
    """A service's span sums up what its calls counted; two calls add up."""
    counts: dict[str, Any] = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 2}
    model: dict[str, Any] = {"gen_ai.request.model": "twin", "gen_ai.response.time_to_first_chunk": 0.25}
    store.export([
        span(1, 1, took_s=4, attributes=counts), span(1, 2, 1), span(1, 3, 2, took_s=1, attributes=counts | model),
        span(1, 4, 1, took_s=3, attributes=counts | model),
    ])  # fmt: skip
    with opened(path) as reader:
        (whole,) = reader.traces(Wanted())
        spans = reader.spans(whole.trace_id)
        found = figures.figures(reader.since(0))
    assert [one.name for one in own_usage(spans)] == ["span 4", "span 3"]
    assert (whole.input_tokens, whole.output_tokens) == (20, 4)
    (of_model,) = found.models
    assert (of_model.calls, of_model.input_tokens, of_model.output_tokens) == (2, 20, 4)
    assert of_model.latency == figures.Latencies(1000, 3000, 3000, 3000)
    assert of_model.first_chunk == figures.Latencies(250, 250, 250, 250)
    assert found.traces[0].latency.p50_ms == 4000


def test_a_trace_whose_spans_form_a_ring_is_read_all_the_same() -> None:
    """The file may hold anything."""

    def ring(number: int, parent: int) -> StoredSpan:
        return StoredSpan("t", str(number), str(parent), False, "", "x", "internal", 0, 1, None, "m", 1, 1, None)

    assert list(own_usage([ring(1, 2), ring(2, 1)])) == []
