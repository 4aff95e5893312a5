"""Traces as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from llm_deploy.cli.screen import table
from llm_deploy.tracing import conventions
from llm_deploy.tracing.figures import Figures, Latencies
from llm_deploy.tracing.reading import StoredSpan, TraceSummary, children, summary

SHOWN_ID = 12
SHOWN_TEXT = 160
HIDDEN = {
    conventions.OPERATION, conventions.PROVIDER, conventions.REQUEST_MODEL, conventions.RESPONSE_MODEL,
    conventions.INPUT_TOKENS, conventions.OUTPUT_TOKENS, conventions.ERROR_TYPE, conventions.FINISH_REASONS,
    conventions.TIME_TO_FIRST_CHUNK, conventions.SERVER_ADDRESS, conventions.SERVER_PORT, conventions.DATA_SOURCE,
}  # fmt: skip
"""Said in the span's line, or known from its name."""
NOT_PRINTED = {code: " " for code in (*range(32), 127, *range(128, 160)) if code != ord("\n")}
"""Control characters of stored texts could move the terminal's cursor or colour what follows."""


def list_lines(traces: Sequence[TraceSummary]) -> Iterator[str]:
    """A table."""
    rows = [
        (
            one.trace_id[:SHOWN_ID],
            _moment(one.start_ns),
            _ms(one.duration_ms),
            f"{one.input_tokens}+{one.output_tokens}",
            ", ".join(one.models) or "-",
            one.error_type or "-",
            _clean(one.name),
        )
        for one in traces
    ]
    return table(rows, ("trace", "began (UTC)", "took", "tokens", "models", "error", "what"))


def tree_lines(spans: Sequence[StoredSpan], *, full: bool) -> Iterator[str]:
    """A trace: a heading, then each span under its parent with what it carries."""
    whole = summary(spans)
    yield (
        f"trace {whole.trace_id}  {whole.service}  {_moment(whole.start_ns)} UTC  {_ms(whole.duration_ms)}  "
        f"{whole.input_tokens} tokens in, {whole.output_tokens} out"
    )
    roots, below = children(spans)
    for root in roots:
        yield from _span_lines(root, below, "", full=full)


def figure_lines(found: Figures) -> Iterator[str]:
    """Two tables: by kind of trace, by model."""
    if not found.traces:
        yield "No such traces."
        return
    rows = [(_clean(one.name), str(one.count), str(one.errors), *_cells(one.latency)) for one in found.traces]
    yield from table(rows, ("what", "traces", "errors", "p50", "p90", "p99", "largest"))
    if found.models:
        yield ""
        calls = [
            (
                one.model, str(one.calls), str(one.errors), str(one.input_tokens), str(one.output_tokens),
                *_cells(one.latency)[:3],
                *((_ms(one.first_chunk.p50_ms), _ms(one.first_chunk.p99_ms)) if one.first_chunk else ("-", "-")),
            )
            for one in found.models
        ]  # fmt: skip
        headers = ("model", "calls", "errors", "in", "out", "p50", "p90", "p99", "first chunk p50", "p99")
        yield from table(calls, headers)


def _span_lines(span: StoredSpan, below: dict[str, list[StoredSpan]], indent: str, *, full: bool) -> Iterator[str]:
    yield f"{indent}{_clean(span.name)}  {_ms(span.duration_ms)}{_facts(span)}"
    inner = indent + "  "
    for label, text in _details(span):
        yield from _detail_lines(label, text, inner + "  ", full=full)
    for child in below.get(span.span_id, ()):
        yield from _span_lines(child, below, inner, full=full)


def _facts(span: StoredSpan) -> str:
    attributes = span.attributes
    facts = []
    if conventions.TIME_TO_FIRST_CHUNK in attributes:
        facts.append(f"first chunk {_ms(attributes[conventions.TIME_TO_FIRST_CHUNK] * 1000)}")
    if span.input_tokens is not None or span.output_tokens is not None:
        facts.append(f"{span.input_tokens or 0} tokens in, {span.output_tokens or 0} out")
    if reasons := attributes.get(conventions.FINISH_REASONS):
        facts.append("ended by " + ", ".join(map(str, reasons)))
    if span.error_type:
        facts.append(f"FAILED: {span.error_type}")
    return "".join(f"  {fact}" for fact in facts)


def _details(span: StoredSpan) -> Iterator[tuple[str, str]]:
    """What a span carries beside its line: label and text."""
    if span.message:
        yield "said", span.message
    for name, value in span.attributes.items():
        if name in {conventions.INPUT_MESSAGES, conventions.OUTPUT_MESSAGES}:
            yield from _messages(value)
        elif name == conventions.RETRIEVAL_DOCUMENTS:
            yield from _documents(value)
        elif name in {conventions.RETRIEVAL_QUERY, "rag.query"}:
            yield "query", str(value)
        elif name in {conventions.STEP_QUERIES, "rag.queries"}:
            yield from (("expanded", str(text)) for text in value[1:])
        elif name == "rag.answer":
            yield "answer", str(value)
        elif name not in HIDDEN:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for event in span.events:
        yield "event", f"{event['name']} {json.dumps(event['attributes'], ensure_ascii=False)}"


def _messages(value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    for message in _items(value):
        parts = message.get("parts")
        for part in parts if isinstance(parts, list) else ():
            text = part.get("content") if isinstance(part, dict) else part
            yield str(message.get("role", "")), text if isinstance(text, str) else json.dumps(part, ensure_ascii=False)


def _documents(value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    for document in _items(value):
        score = document.get("score")
        said = f"{score:.3f}" if isinstance(score, int | float) else "-"
        yield "document", f"{said}  {document.get('id', '')}  {document.get('content', '')}".rstrip()


def _items(value: Any) -> Iterable[dict[str, Any]]:  # noqa: ANN401 - JSON
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return ()
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else ()


def _detail_lines(label: str, text: str, indent: str, *, full: bool) -> Iterator[str]:
    lines = _clean(text, keep_lines=True).splitlines() or [""]
    if not full:
        joined = " ".join(lines)
        lines = [joined if len(joined) <= SHOWN_TEXT else joined[:SHOWN_TEXT] + "…"]
    yield f"{indent}{label:<9} {lines[0]}"
    yield from (f"{indent}{'':<9} {line}" for line in lines[1:])


def _clean(text: str, *, keep_lines: bool = False) -> str:
    cleaned = text.translate(NOT_PRINTED)
    return cleaned if keep_lines else cleaned.replace("\n", " ")


def _cells(latency: Latencies) -> tuple[str, str, str, str]:
    return _ms(latency.p50_ms), _ms(latency.p90_ms), _ms(latency.p99_ms), _ms(latency.largest_ms)


def _ms(duration_ms: float) -> str:
    return f"{duration_ms:,.1f} ms" if duration_ms < 10_000 else f"{duration_ms / 1000:,.1f} s"  # noqa: PLR2004 - above, tenths of a ms tell nothing


def _moment(start_ns: int) -> str:
    return datetime.fromtimestamp(start_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
