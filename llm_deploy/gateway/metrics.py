"""What is counted of each request, in plain numbers; Prometheus's words are found when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from llm_deploy.tracing.counts import Counts

_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True)
class Record:
    """One request, from its first byte to its last.

    Attributes:
        status: What was answered; 499 when the client left before.
        refused: The code of the refusal, or why a stream broke; empty when all went well.
        first_s: Seconds to the first piece of a stream.
    """

    route: str
    request_id: str
    started_s: float
    model: str = ""
    key_id: str = ""
    backend: str = ""
    stream: bool = False
    status: int = 0
    refused: str = ""
    finish: str = ""
    first_s: float | None = None
    total_s: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_S) + 1))
    sum_s: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(_BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulated counts by bound, as Prometheus wants them."""
        total, found = 0, []
        for bound, count in zip([*map(str, _BOUNDS_S), "+Inf"], self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


@dataclass(slots=True, eq=False)
class Metrics:
    """All counters of one gateway; a collector of prometheus_client."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    upstream_failures: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    latency: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    first_token: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    in_flight: int = 0
    streams_open: int = 0
    log_lines_dropped: int = 0
    spans: Callable[[], Mapping[str, Counts]] | None = None

    def count(self, record: Record) -> None:
        """Count a finished request."""
        self.requests[record.route, record.model, record.status] += 1
        key = (record.route, record.model)
        histogram(self.latency, key).observe(record.total_s)
        if record.first_s is not None:
            histogram(self.first_token, key).observe(record.first_s)
        if record.refused:
            self.refused[record.refused] += 1
        if record.prompt_tokens:
            self.tokens[record.model, "prompt"] += record.prompt_tokens
        if record.generated_tokens:
            self.tokens[record.model, "generated"] += record.generated_tokens

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client calls when it is asked."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - on demand

        def counter(name: str, text: str, labels: list[str], items: Iterable[tuple[tuple[object, ...], int]]) -> Metric:
            family = CounterMetricFamily(f"llmdeploy_gateway_{name}", text, labels=labels)
            for values, number in items:
                family.add_metric([str(value) for value in values], number)
            return family

        requests = ["route", "model", "status"]
        yield counter("requests", "Requests answered.", requests, self.requests.items())
        yield counter("tokens", "Tokens, by direction.", ["model", "direction"], self.tokens.items())
        yield counter(
            "refused", "Refusals and broken streams.", ["reason"], [((k,), n) for k, n in self.refused.items()]
        )
        failures = ["model", "backend", "error"]
        yield counter("upstream_failures", "Backends' failures.", failures, self.upstream_failures.items())
        yield counter("log_lines_dropped", "Log lines nobody read.", [], [((), self.log_lines_dropped)])
        yield counter("spans", "Spans of traces, by what became of them.", ["exporter", "outcome"], self._spans())
        yield GaugeMetricFamily("llmdeploy_gateway_in_flight", "Requests being answered.", self.in_flight)
        yield GaugeMetricFamily("llmdeploy_gateway_streams_open", "Streams being sent.", self.streams_open)
        yield _family("latency_seconds", "Seconds to the end of an answer.", self.latency)
        yield _family("first_token_seconds", "Seconds to the first piece of a stream.", self.first_token)

    def _spans(self) -> list[tuple[tuple[object, ...], int]]:
        found = {} if self.spans is None else self.spans()
        return [
            ((name, outcome), getattr(counts, outcome))
            for name, counts in found.items()
            for outcome in ("exported", "failed", "dropped")
        ]

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - on demand

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)


def histogram(found: dict[tuple[str, str], Histogram], key: tuple[str, str]) -> Histogram:
    """The histogram of a key; a new one where there was none."""
    made = found.get(key)
    if made is None:
        made = found[key] = Histogram()
    return made


def _family(name: str, text: str, histograms: dict[tuple[str, str], Histogram]) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily  # noqa: PLC0415 - on demand

    family = HistogramMetricFamily(f"llmdeploy_gateway_{name}", text, labels=["route", "model"])
    for key, histogram in histograms.items():
        family.add_metric(list(key), histogram.buckets(), histogram.sum_s)
    return family
