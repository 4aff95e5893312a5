"""What happened to each request: one line on the log, and counters for Prometheus. Never a word of a prompt."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

logger = logging.getLogger("llm_deploy.serving")
GONE = 499
"""The status for a client that went away, after nginx; it is never sent."""


@dataclass(slots=True)
class Record:
    """One request's story; times in seconds of the journal's clock.

    Attributes:
        started_s: When it arrived.
        first_token_s: When the engine gave the first token; `None` until then.
    """

    request_id: str
    route: str
    started_s: float
    slot_s: float | None = None
    first_token_s: float | None = None
    status: int = 0
    stream: bool = False
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finish: str = "-"


@dataclass(slots=True)
class Journal:
    """Counts and logs what ended.

    Args:
        clock: Seconds that only go forward.
    """

    clock: Callable[[], float]
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    prompt_tokens: int = 0
    generated_tokens: int = 0
    first_token_count: int = 0
    first_token_sum_s: float = 0.0

    def begin(self, request_id: str, route: str) -> Record:
        """Note that a request arrived."""
        return Record(request_id, route, self.clock())

    def end(self, record: Record) -> None:
        """Count a request and log its line."""
        now = self.clock()
        self.requests[record.route, record.status] += 1
        self.prompt_tokens += record.prompt_tokens
        self.generated_tokens += record.generated_tokens
        if record.first_token_s is not None:
            self.first_token_count += 1
            self.first_token_sum_s += record.first_token_s - record.started_s
        logger.info("%s", _line(record, now))

    def prometheus(self, *, running: int, waiting: int) -> str:
        """Write everything in Prometheus' text format."""
        lines = ["# TYPE llmdeploy_requests_total counter"]
        for (route, status), count in sorted(self.requests.items()):
            lines.append(f'llmdeploy_requests_total{{route="{route}",status="{status}"}} {count}')
        for name, kind, value in (
            ("llmdeploy_prompt_tokens_total", "counter", self.prompt_tokens),
            ("llmdeploy_generated_tokens_total", "counter", self.generated_tokens),
            ("llmdeploy_requests_running", "gauge", running),
            ("llmdeploy_requests_waiting", "gauge", waiting),
        ):
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        lines += [
            "# TYPE llmdeploy_first_token_seconds summary",
            f"llmdeploy_first_token_seconds_sum {self.first_token_sum_s:.6f}",
            f"llmdeploy_first_token_seconds_count {self.first_token_count}",
        ]
        return "\n".join(lines) + "\n"


def _line(record: Record, now_s: float) -> str:
    return (
        f"request={record.request_id} route={record.route} status={record.status} stream={int(record.stream)} "
        f"prompt_tokens={record.prompt_tokens} generated_tokens={record.generated_tokens} finish={record.finish} "
        f"queue_ms={_ms(record.started_s, record.slot_s)} ttft_ms={_ms(record.started_s, record.first_token_s)} "
        f"tokens_per_s={_tokens_per_s(record, now_s)} total_ms={_ms(record.started_s, now_s)}"
    )


def _ms(start_s: float, end_s: float | None) -> str:
    return "-" if end_s is None else f"{1000 * (end_s - start_s):.0f}"


def _tokens_per_s(record: Record, now_s: float) -> str:
    """The pace after the first token, whose time is the prompt's."""
    if record.first_token_s is None or record.generated_tokens < 2 or now_s <= record.first_token_s:  # noqa: PLR2004 - a pace needs two
        return "-"
    return f"{(record.generated_tokens - 1) / (now_s - record.first_token_s):.1f}"
