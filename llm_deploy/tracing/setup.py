"""From a `TracingConfig` to spans that are recorded; the one entry for services and commands."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from llm_deploy.errors import MissingExtraError
from llm_deploy.tracing import environment as variables, spans
from llm_deploy.tracing.config import TracingConfig
from llm_deploy.tracing.counts import Counts
from llm_deploy.tracing.store_place import STORE_NAME

if TYPE_CHECKING:
    from llm_deploy.tracing.delivery import Delivery
    from llm_deploy.tracing.spans import Recorder


class Tracing:
    """What listens. Close it when the service stops."""

    def __init__(self, config: TracingConfig, recorder: Recorder | None, deliveries: tuple[Delivery, ...]) -> None:
        self.config = config
        self._recorder = recorder
        self._deliveries = deliveries

    def counts(self) -> Counts:
        """The sums over all exporters."""
        return reduce(add, self.by_exporter().values(), Counts())

    def by_exporter(self) -> Mapping[str, Counts]:
        """The same by exporter: `local`, `otlp`."""
        return {delivery.name: delivery.counts() for delivery in self._deliveries}

    def close(self) -> None:
        """Write what is left, for `queue.flush_s` at most for each exporter, and stop listening. Idempotent."""
        if spans.current_recorder() is self._recorder:
            spans.listen(None)
        for delivery in self._deliveries:
            delivery.close(self.config.queue.flush_s)


def configure(config: TracingConfig, *, state_dir: Path, environment: Mapping[str, str] = os.environ) -> Tracing:
    """Listen from now on, as the configuration and LLMDEPLOY_TRACING_* say, instead of who listened before.

    `state_dir` is the folder of the local store, made when the first span is written: `settings`' folder for
    `store_place.STATE_FOLDER` is the one that `llmdeploy traces` looks into.

    Raises:
        MissingExtraError: OpenTelemetry is not installed and somebody asked for traces, in the file or the environment.
        SpecError: A variable is wrong, or a header refers to one that is not set.
    """
    chosen = variables.overlaid(config, environment)
    if not chosen.exporters:
        spans.listen(None)
        return Tracing(chosen, None, ())
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        if variables.asked_for(config, environment):
            raise MissingExtraError("traces need OpenTelemetry", hint='Install it: pip install "llm-deploy[otel]"')
        return Tracing(chosen, None, ())
    from llm_deploy.tracing import provider  # noqa: PLC0415 - imports OpenTelemetry

    recorder, deliveries = provider.start(chosen, chosen.local.path or state_dir / STORE_NAME, environment)
    spans.listen(recorder)
    return Tracing(chosen, recorder, deliveries)
