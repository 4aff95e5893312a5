"""Our own `TracerProvider`, private to this package: sampler, chooser, and a delivery for each exporter."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider

from llm_deploy.tracing import otlp
from llm_deploy.tracing.config import Exporter, TracingConfig
from llm_deploy.tracing.delivery import Delivery
from llm_deploy.tracing.recorder import OpenTelemetryRecorder
from llm_deploy.tracing.redaction import Redactor
from llm_deploy.tracing.sampling import Chooser, Watched, share
from llm_deploy.tracing.scrub import Scrubber
from llm_deploy.tracing.store import LocalStore

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

MIB = 1024 * 1024
SCOPE = "llm_deploy"
LIMITS = SpanLimits(max_attributes=128, max_events=128, max_event_attributes=32)


def start(
    config: TracingConfig, store: Path, environment: Mapping[str, str]
) -> tuple[OpenTelemetryRecorder, tuple[Delivery, ...]]:
    """A recorder whose spans go to the exporters of the configuration, in which nothing is open any more."""
    exporters = {name: _exporter(name, config, store, environment) for name in config.exporters or ()}
    scrub = Scrubber(Redactor(config.redaction), config.max_content_characters)
    deliveries = tuple(
        Delivery(
            made,
            name=name,
            scrub=scrub,
            most_spans=config.queue.spans,
            most_bytes=config.queue.mib * MIB,
        )
        for name, made in exporters.items()
    )

    def give(span: ReadableSpan) -> None:
        for delivery in deliveries:
            delivery.offer(span)

    watches = config.keep_errors or config.keep_slower_than_s is not None
    sampler = share(config.sample_ratio)
    provider = TracerProvider(
        sampler=Watched(sampler) if watches else sampler,
        resource=_resource(config),
        span_limits=LIMITS,
        shutdown_on_exit=False,
    )
    provider.add_span_processor(Chooser(give, keep_errors=config.keep_errors, slow_s=config.keep_slower_than_s))
    recorder = OpenTelemetryRecorder(
        provider.get_tracer(SCOPE, version("llm-deploy")),
        captures_content=bool(config.capture_content),
        limit=config.max_content_characters,
    )
    return recorder, deliveries


def _exporter(name: Exporter, config: TracingConfig, store: Path, environment: Mapping[str, str]) -> SpanExporter:
    return otlp.exporter(config.otlp, environment) if name == "otlp" else LocalStore(store, config.local)


def _resource(config: TracingConfig) -> Resource:
    """Ours under OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, which the SDK reads."""
    ours = Resource({SERVICE_NAME: config.service_name, SERVICE_VERSION: version("llm-deploy")})
    return ours.merge(_from_environment())


def _from_environment() -> Resource:
    found = Resource.create()
    named = found.attributes.get(SERVICE_NAME)
    # Without a name in the environment the SDK makes one up.
    kept = {
        name: value
        for name, value in found.attributes.items()
        if name != SERVICE_NAME or not str(named).startswith("unknown_service")
    }
    return Resource(kept)
