"""The report as one HTML file: it needs no network, runs no script, and prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from llm_deploy.bench.document import Percentiles, Phase, Report
from llm_deploy.bench.plot import Line, Mark, chart

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#1f2328}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5rem 0}
th,td{padding:.25rem .6rem;border-bottom:1px solid #d0d7de;text-align:right}
th:first-child,td:first-child{text-align:left}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:1rem}
svg{width:100%;height:auto;font:11px system-ui,sans-serif;stroke-width:1.6}
svg text{stroke:none;fill:#1f2328}.title{font-size:13px;font-weight:600}.name,.x{text-anchor:middle}
.y{text-anchor:end}.grid{stroke:#d0d7de;stroke-width:1}.mark{stroke:#57606a;stroke-dasharray:3 3;stroke-width:1}
.mark-name{text-anchor:start}.note{background:#fff8c5;padding:.4rem .7rem;border-radius:6px;margin:.3rem 0}
.big{display:flex;flex-wrap:wrap;gap:1.5rem;margin:1rem 0}.big div{border-left:3px solid #1f6feb;padding-left:.7rem}
.big b{display:block;font-size:1.35rem}details{margin:.5rem 0}
"""


def page(report: Report) -> str:
    """The whole file's text."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Load test of {escape(report.target.name)}</title><style>{STYLE}</style></head><body>
<h1>Load test of {escape(report.target.name)}</h1>
<p>{escape(_what(report))}</p>
{"".join(f'<p class="note">{escape(note)}</p>' for note in report.notes)}
{_headlines(report)}
<h2>Phases</h2>
{_phases(report.phases)}
<div class="plots">{"".join(_over_rates(report))}</div>
{"".join(map(_phase, report.phases))}
<h2>How it was measured</h2>
<p>{escape(_how(report))}</p>
</body></html>
"""


def _what(report: Report) -> str:
    target, work = report.target, report.workload
    parts = [
        report.made_at,
        f"{target.kind}, {target.machines}" if target.machines else target.kind,
        f"prompts: {work.prompts}" + (f" of {work.input_tokens} tokens" if work.input_tokens else ""),
        f"answers of at most {work.output_tokens} tokens",
        "streamed" if work.streamed else "whole",
        f"SLO: {slo_words(report)}",
    ]
    return " · ".join(parts + (["interrupted"] if report.interrupted else []))


def slo_words(report: Report) -> str:
    """The SLO in a line."""
    limits = ", ".join(f"{name} ≤ {limit:g} ms" for name, limit in report.objective.limits_ms.items())
    return f"{limits or 'any answer'} for {100 * report.objective.share:g} % of requests"


def _headlines(report: Report) -> str:
    capacity, cost = report.capacity, report.cost
    pairs = [
        (capacity.best_per_s, "requests per s within the SLO"),
        (capacity.saturated_per_s, "requests per s saturate it"),
        (capacity.throughput_per_s or None, "answers per s at most"),
        (capacity.throughput_tokens_per_s or None, "generated tokens per s at most"),
        (cost and cost.usd_per_million_tokens, "$ per million tokens within the SLO"),
        (cost and cost.usd_per_million_tokens_saturated, "$ per million tokens at most throughput"),
    ]
    shown = (f"<div><b>{value:,.3g}</b>{escape(name)}</div>" for value, name in pairs if value is not None)
    return f'<div class="big">{"".join(shown)}</div>'


def _phases(phases: Sequence[Phase]) -> str:
    heads = ["load", "answers/s", "good", "goodput/s", "tokens/s", "under way", "TTFT p50", "p99", "TPOT p50", "p99"]
    heads += ["total p50", "p99", "failed", "state"]
    rows = [
        [
            each.load,
            f"{each.requests_per_s:.2f}",
            f"{100 * each.good_share:.1f} %",
            f"{each.goodput_per_s:.2f}",
            f"{each.tokens_per_s:,.0f}",
            f"{each.concurrency:.1f}",
            *(f"{getattr(it, at):,.0f}" for it in (each.ttft, each.tpot, each.total) for at in ("p50", "p99")),
            ", ".join(f"{kind} {count}" for kind, count in each.errors.items()) or "0",
            "saturated" if each.saturated else each.verdict,
        ]
        for each in phases
    ]
    return _table(heads, rows) + "<p>Latencies in milliseconds.</p>"


def _over_rates(report: Report) -> list[str]:
    """How latency and throughput go with the rate."""
    phases = sorted((each for each in report.phases if each.offered_per_s), key=lambda each: each.offered_per_s or 0)
    if len(phases) <= 1:
        return []

    def line(name: str, figure: str, at: str | None = None) -> Line:
        values = [getattr(getattr(each, figure), at) if at else getattr(each, figure) for each in phases]
        return Line(name, list(zip([each.offered_per_s or 0 for each in phases], values, strict=True)))

    best = report.capacity.best_per_s
    marks = [Mark(best, "within the SLO")] if best else []
    x = "offered, requests per s"
    return [
        chart("Throughput", x, "per s", [line("answers", "requests_per_s"), line("good", "goodput_per_s")], marks),
        chart("Tokens", x, "generated per s", [line("tokens", "tokens_per_s")], marks),
        chart("Time to first token", x, "ms", [line(at, "ttft", at) for at in ("p50", "p90", "p99")], marks),
        chart("Time per token", x, "ms", [line(at, "tpot", at) for at in ("p50", "p90", "p99")], marks),
        chart("Whole answers", x, "ms", [line(at, "total", at) for at in ("p50", "p90", "p99")], marks),
    ]


def _phase(phase: Phase) -> str:
    series, at = phase.series, "seconds since the phase began"
    plots = [
        chart(
            "Under way",
            at,
            "requests",
            [Line("under way", [(each.at_s, each.under_way) for each in series])],
            [Mark(phase.warm_up_s, "measured from here")] if phase.warm_up_s else [],
        ),
        chart(
            "Latency of the requests that were due then",
            at,
            "ms",
            [
                Line("TTFT p50", [(each.at_s, each.ttft_p50) for each in series if each.due_per_s]),
                Line("total p50", [(each.at_s, each.total_p50) for each in series if each.due_per_s]),
                Line("total p99", [(each.at_s, each.total_p99) for each in series if each.due_per_s]),
            ],
        ),
        chart(
            "Distribution",
            "ms",
            "share of requests",
            [Line("TTFT", phase.ttft_shares), Line("total", phase.total_shares)],
        ),
    ]
    table = _table(
        ["ms", "count", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"],
        (
            [name, *_row(getattr(phase, figure))]
            for name, figure in (
                ("time to first token", "ttft"),
                ("time per token, of a request", "tpot"),
                ("between two tokens", "gap"),
                ("whole answer", "total"),
                ("generator's own lateness", "lag"),
            )
        ),
    )
    return f'<details><summary>{escape(phase.load)}</summary>{table}<div class="plots">{"".join(plots)}</div></details>'


def _row(found: Percentiles) -> list[str]:
    values = (found.mean, found.p50, found.p90, found.p95, found.p99, found.p999, found.max)
    return [f"{found.count:,}", *(f"{value:,.1f}" for value in values)]


def _how(report: Report) -> str:
    generator = report.generator
    return (
        f"{report.tool} from {report.machine}. In an open loop each latency counts from when its request was due, so"
        " that what a slow model delays is not left out. The generator took"
        f" {100 * generator.cpu_share:.0f} % of a core in the busiest phase and was late by {generator.lag_p99:.1f} ms"
        " at most for 99 % of the requests."
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
