"""A model that is not one: it answers in this process, exactly as slowly as it is told.

What the generator costs, and how far its figures are off, is measured against it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from llm_deploy.bench.arrivals import constant
from llm_deploy.bench.load import Bounds, Outcome, Run
from llm_deploy.bench.prompts import Lengths, Prompts
from llm_deploy.bench.slo import Slo
from llm_deploy.bench.windows import total
from llm_deploy.dialects.types import Chunk, GenerationRequest, TokenCounts

RATES_PER_S = (50.0, 200.0, 800.0)
TOKENS, FEW, MANY = 16, 1, 201
FIRST_S, GAP_S = 0.02, 0.005
PHASE_S = 1.0


@dataclass(slots=True)
class NullModel:
    """Answers with `tokens` tokens, the first after `first_s` and then one every `gap_s`.

    Attributes:
        late_s: How late it was itself with each first token: what an observer cannot know, and must not be blamed for.
    """

    tokens: int
    first_s: float = 0.0
    gap_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    late_s: list[float] = field(default_factory=list)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:  # noqa: ARG002 - any request
        """One answer."""
        due_s = self.clock() + self.first_s
        for number in range(self.tokens):
            if (ahead_s := due_s - self.clock()) > 0:
                await asyncio.sleep(ahead_s)
            if number == 0:
                self.late_s.append(self.clock() - due_s)
            due_s += self.gap_s
            yield Chunk(" token")
        yield Chunk("", finish_reason="length", counts=TokenCounts(8, self.tokens))


@dataclass(frozen=True, slots=True)
class Cost:
    """What generating load costs.

    Attributes:
        request_us: CPU of a request with one token, all but the model's client.
        token_us: CPU of each further token.
    """

    request_us: float
    token_us: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How right the figures are at a rate: measured less true time to first token, and the generator's lateness."""

    rate_per_s: float
    reached_per_s: float
    error_p50_ms: float
    error_p99_ms: float
    lag_p99_ms: float
    cpu_share: float


async def cost(seconds: float = 0.5) -> Cost:
    """Measure with answers that are there at once, short and long ones."""
    short, long = [await _closed(NullModel(tokens), seconds) for tokens in (FEW, MANY)]
    return Cost(short, max(0.0, long - short) / (MANY - FEW))


async def _closed(model: NullModel, seconds: float) -> float:
    outcome = await _run(model, seconds).closed_loop(1)
    return 1e6 * outcome.cpu_s / max(1, total(outcome.windows).ended)


async def accuracy(rate_per_s: float, seconds: float = PHASE_S) -> Accuracy:
    """Measure in an open loop against answers of known timing."""
    model = NullModel(TOKENS, FIRST_S, GAP_S)
    outcome = await _run(model, seconds).open_loop(constant(rate_per_s))
    return _accuracy(rate_per_s, outcome, sorted(model.late_s), seconds)


def _accuracy(rate_per_s: float, outcome: Outcome, late_s: list[float], seconds: float) -> Accuracy:
    seen = total(outcome.windows)

    def true_s(share: float) -> float:
        return FIRST_S + (late_s[min(len(late_s) - 1, int(share * len(late_s)))] if late_s else 0.0)

    return Accuracy(
        rate_per_s=rate_per_s,
        reached_per_s=seen.ended_well / seconds,
        error_p50_ms=1000 * (seen.ttft.percentile_s(50) - true_s(0.50)),
        error_p99_ms=1000 * (seen.ttft.percentile_s(99) - true_s(0.99)),
        lag_p99_ms=1000 * seen.lag.percentile_s(99),
        cpu_share=outcome.cpu_s / max(outcome.sent_until_s, 1e-9),
    )


def _run(model: NullModel, seconds: float) -> Run:
    fixed = Lengths("fixed", 8)
    prompts = Prompts(seed=0, output_tokens=fixed, input_tokens=fixed)
    return Run(model.stream, prompts, slo=Slo(), bounds=Bounds(seconds), stop=asyncio.Event())
