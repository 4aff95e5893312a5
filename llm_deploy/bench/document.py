"""The report as a document: what `--json` writes, and what planning of capacity will read.

Times are in milliseconds and rates are per second, unless a name says otherwise. `version` grows when a field's
meaning changes; fields may be added without that.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION = 1


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Percentiles(_Document):
    """A distribution of latencies in milliseconds."""

    count: int = Field(description="How many values.")
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


class Moment(_Document):
    """One stretch of a run, for plots."""

    at_s: float = Field(description="Its begin, seconds since the run began.")
    due_per_s: float
    ended_per_s: float
    tokens_per_s: float
    under_way: float = Field(description="Mean number of requests under way.")
    ttft_p50: float
    total_p50: float
    total_p99: float


class Phase(_Document):
    """One run at one load. Everything but `series` is about the measured stretch, after the warm-up."""

    load: str = Field(description="In words, such as `8 per s, poisson` or `16 users`.")
    offered_per_s: float | None = Field(description="Rate of an open loop; null in a closed one.")
    users: int | None = Field(description="Users of a closed loop; null in an open one.")
    warm_up_s: float = Field(description="Left out at the beginning.")
    measured_s: float
    verdict: Literal["steady", "growing", "short"] = Field(
        description="growing: latency rose all the time, so the figures depend on how long was measured; short: too few"
        " windows to tell."
    )
    saturated: bool = Field(description="Latency grew, or one in twenty requests failed or was held back.")
    requests: int = Field(description="Requests that were due.")
    failed: int
    errors: dict[str, int] = Field(description="Failures by kind; Unfinished: not there when the draining ended.")
    held_back: int = Field(description="Waited for a slot because so many were under way; the waiting counts for them.")
    good: int = Field(description="Kept every limit of the SLO.")
    good_share: float
    meets_slo: bool
    requests_per_s: float = Field(description="Answers that ended well.")
    goodput_per_s: float = Field(description="Good answers.")
    tokens_per_s: float = Field(description="Generated tokens.")
    prompt_tokens_per_s: float = Field(description="As the engine counted them; 0 where it does not say.")
    concurrency: float = Field(description="Mean number of requests under way.")
    ttft: Percentiles = Field(description="From when a request was due to its first token.")
    tpot: Percentiles = Field(description="Mean time of each further token, one value a request.")
    gap: Percentiles = Field(description="Time between two tokens, one value a token (inter-token latency).")
    total: Percentiles = Field(description="From when a request was due to the end of its answer.")
    lag: Percentiles = Field(description="How late the generator itself sent; part of the latencies above.")
    cpu_share: float = Field(description="CPU of the generator, in cores.")
    ttft_shares: list[tuple[float, float]] = Field(description="Distribution: milliseconds, share up to there.")
    total_shares: list[tuple[float, float]] = Field(description="As `ttft_shares`.")
    series: list[Moment]


class Target(_Document):
    """What was loaded."""

    name: str
    kind: Literal["endpoint", "url", "null model"]
    model: str | None = None
    copies: int | None = Field(None, description="Copies that served, or machines; null when unknown.")
    machines: str | None = Field(None, description="Such as `2 ml.g6.xlarge`.")
    usd_per_hour: float | None = Field(None, description="List price of its machines; null when unknown.")


class Workload(_Document):
    """What was asked."""

    prompts: str = Field(description="The file's name, or `made up`.")
    input_tokens: str | None = Field(description="Distribution of what is made up; null for a file.")
    output_tokens: str = Field(description="Distribution of the most new tokens.")
    seed: int
    chat: bool
    streamed: bool


class Objective(_Document):
    """The SLO: limits in milliseconds, and the share of requests that must keep all of them."""

    limits_ms: dict[str, float]
    share: float


class Capacity(_Document):
    """What one deployment of this size carries: the input of scaling decisions.

    `best_*` are figures of the phase at the largest rate that met the SLO.
    """

    best_per_s: float | None = Field(description="Largest tried rate that met the SLO; null when none did.")
    too_much_per_s: float | None = Field(description="Least tried rate that did not; null when none failed.")
    saturated_per_s: float | None = Field(description="Least tried rate at which the model did not keep up.")
    throughput_per_s: float = Field(description="Most answers per second that any phase reached.")
    throughput_tokens_per_s: float = Field(description="Most generated tokens per second that any phase reached.")
    best_concurrency: float | None = Field(description="Mean requests under way there.")
    best_tokens_per_s: float | None
    copies: int | None = Field(description="As in `target`.")
    best_per_s_per_copy: float | None
    invocations_per_copy_per_minute: float | None = Field(
        description="The same as a target of SageMaker's InvocationsPerCopy and InvocationsPerInstance."
    )
    concurrency_per_copy: float | None = Field(description="The same as a target of ConcurrentRequestsPerCopy.")


class Cost(_Document):
    """Dollars at list price, for the machines alone."""

    usd_per_hour: float
    usd_per_million_tokens: float | None = Field(description="Of generated tokens, at the best rate within the SLO.")
    usd_per_million_tokens_saturated: float | None = Field(description="The same at the most that it can give.")


class Generator(_Document):
    """What the load generator itself cost."""

    cpu_share: float = Field(description="CPU in the busiest phase, in cores.")
    lag_p99: float = Field(description="99th percentile of its own lateness in the worst phase.")
    trusted: bool = Field(description="False: the generator was itself too busy, and what it says is too slow.")


class Report(_Document):
    """A load test."""

    version: int = VERSION
    made_at: str = Field(description="ISO 8601, UTC.")
    tool: str = Field(description="Name and version.")
    machine: str = Field(description="Where the load came from.")
    target: Target
    workload: Workload
    objective: Objective
    phases: list[Phase]
    capacity: Capacity
    cost: Cost | None = Field(description="Null where no price is known.")
    generator: Generator
    interrupted: bool = Field(description="Somebody stopped it: the last phase is not whole.")
    notes: list[str] = Field(description="What a reader should know before believing the figures.")
