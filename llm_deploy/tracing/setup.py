"""From a `TracingConfig` to spans that are recorded; the one entry for services and commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llm_deploy.tracing.config import TracingConfig


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened to spans so far in this process, for metrics. They only grow.

    Attributes:
        exported: Accepted by an exporter.
        dropped: Not kept because the queue was full or a stop did not wait longer.
        failed: Given up by an exporter: the back end is down, slow or refuses them.
    """

    exported: int = 0
    dropped: int = 0
    failed: int = 0


class Tracing:
    """Running exporters. Close it when the service stops."""

    def counts(self) -> Counts:
        """The sums over all exporters."""
        return Counts()

    def close(self) -> None:
        """Write what is left, for `queue.flush_s` at most, and stop listening. Idempotent."""


def configure(config: TracingConfig, *, state_dir: Path) -> Tracing:
    """Listen from now on, as the configuration and LLMDEPLOY_TRACING_* say. A second call replaces the first.

    `state_dir` is the folder of the local store, made if missing.

    Raises:
        MissingExtraError: OpenTelemetry is not installed and somebody asked for traces: in the file or the environment.
        SpecError: A variable is wrong, or a header refers to one that is not set.
    """
    del config, state_dir
    return Tracing()
