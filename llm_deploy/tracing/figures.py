"""Figures over stored traces: latencies of whole traces by name, and of calls of models with their tokens. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from llm_deploy.tracing import conventions
from llm_deploy.tracing.reading import StoredSpan, own_usage

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds; by nearest rank, so that each is one that was measured."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    largest_ms: float


@dataclass(frozen=True, slots=True)
class TraceFigures:
    """All traces whose first span has one name."""

    name: str
    count: int
    errors: int
    latency: Latencies


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """All calls of one model."""

    model: str
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    latency: Latencies
    first_chunk: Latencies | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What `llmdeploy traces stats` shows."""

    traces: list[TraceFigures]
    models: list[ModelFigures]


@dataclass(slots=True)
class _Sums:
    durations_ms: list[float] = field(default_factory=list)
    first_chunks_ms: list[float] = field(default_factory=list)
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


def figures(traces: Iterable[Sequence[StoredSpan]]) -> Figures:
    """The figures of these traces, each whole."""
    by_name: dict[str, _Sums] = defaultdict(_Sums)
    by_model: dict[str, _Sums] = defaultdict(_Sums)
    for spans in traces:
        for span in spans:
            if span.is_first:
                _add(by_name[span.name], span, failed=any(one.error_type for one in spans))
        for span in _calls(spans):
            _add(by_model[span.model or ""], span, failed=span.error_type is not None)
    return Figures(
        traces=[_of_traces(name, sums) for name, sums in sorted(by_name.items())],
        models=[_of_model(model, sums) for model, sums in sorted(by_model.items())],
    )


def latencies(durations_ms: Sequence[float]) -> Latencies:
    """Of at least one duration."""
    ordered = sorted(durations_ms)

    def at(percent: int) -> float:
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

    return Latencies(at(50), at(90), at(99), ordered[-1])


def _calls(spans: Sequence[StoredSpan]) -> list[StoredSpan]:
    """Calls of models: spans with tokens of their own, and those that failed before there were any."""
    counted = list(own_usage(spans))
    known = {span.span_id for span in counted}
    failed = [span for span in spans if span.model and span.error_type and span.kind == "client"]
    return [span for span in counted if span.model] + [span for span in failed if span.span_id not in known]


def _add(sums: _Sums, span: StoredSpan, *, failed: bool) -> None:
    sums.durations_ms.append(span.duration_ms)
    sums.errors += failed
    sums.input_tokens += span.input_tokens or 0
    sums.output_tokens += span.output_tokens or 0
    first_chunk_s = span.attributes.get(conventions.TIME_TO_FIRST_CHUNK)
    if isinstance(first_chunk_s, int | float):
        sums.first_chunks_ms.append(first_chunk_s * 1000)


def _of_traces(name: str, sums: _Sums) -> TraceFigures:
    return TraceFigures(name, len(sums.durations_ms), sums.errors, latencies(sums.durations_ms))


def _of_model(model: str, sums: _Sums) -> ModelFigures:
    return ModelFigures(
        model=model,
        calls=len(sums.durations_ms),
        errors=sums.errors,
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        latency=latencies(sums.durations_ms),
        first_chunk=latencies(sums.first_chunks_ms) if sums.first_chunks_ms else None,
    )
