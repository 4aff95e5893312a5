"""OTLP over HTTP, with the SDK's exporter; what the back end does cannot hold or fill the process.

The exporter retries what may pass (429, 502, 503, 504, broken connections) within its time. Its HTTP session here reads
bounded answers in bounded time and takes redirects for failures, since a batch that was redirected was not stored.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from llm_deploy.errors import SpecError
from llm_deploy.tracing.config import Otlp

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

TRACES_PATH = "/v1/traces"
MOST_ANSWER_BYTES = 64 * 1024
DEFAULT_TIMEOUT_S = 10.0
LOGGER = "opentelemetry.exporter.otlp"
FIRST_REDIRECT, FIRST_ERROR = 300, 400
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class BoundedSession(requests.Session):
    """Answers of at most `MOST_ANSWER_BYTES`, read within the request's time; longer or slower ones are errors."""

    def request(self, method: Any, url: Any, *arguments: Any, **named: Any) -> requests.Response:  # noqa: ANN401 - requests' own types are wider than what is used
        """Send, and read the answer's body here, for the caller to find it read."""
        timeout_s = float(named.get("timeout") or DEFAULT_TIMEOUT_S)
        deadline = time.monotonic() + timeout_s
        named["stream"] = True
        response = super().request(method, url, *arguments, **named)
        try:
            response._content = _body(response, deadline)  # noqa: SLF001 - how requests itself keeps a body it has read
        finally:
            response.close()
        if FIRST_REDIRECT <= response.status_code < FIRST_ERROR:
            raise requests.exceptions.InvalidURL(f"the back end redirects ({response.status_code})")
        return response


def exporter(config: Otlp, environment: Mapping[str, str] = os.environ) -> SpanExporter:
    """The exporter for this back end; OTEL_EXPORTER_OTLP_* fill in what is not set.

    Raises:
        SpecError: A header refers to a variable that is not set.
    """
    # It says each failed batch in three ways; `delivery` says it once a minute.
    logging.getLogger(LOGGER).setLevel(logging.CRITICAL)
    named = any(environment.get(f"OTEL_EXPORTER_OTLP_{part}COMPRESSION") for part in ("", "TRACES_"))
    chosen = config.compression or (None if named else "gzip")
    return OTLPSpanExporter(
        endpoint=traces_url(config.endpoint) if config.endpoint else None,
        headers=resolved_headers(config, environment),
        timeout=config.timeout_s,
        compression={"gzip": Compression.Gzip, "none": Compression.NoCompression, None: None}[chosen],
        session=BoundedSession(),
    )


def traces_url(endpoint: str) -> str:
    """Where spans go: the endpoint with `/v1/traces`, unless it ends so already."""
    base = endpoint.rstrip("/")
    return base if urlsplit(base).path.endswith(TRACES_PATH) else base + TRACES_PATH


def resolved_headers(config: Otlp, environment: Mapping[str, str]) -> dict[str, str]:
    """The headers with variables filled in. Values never appear in errors."""

    def value(name: str, text: str) -> str:
        missing = [variable for variable in REFERENCE.findall(text) if not environment.get(variable)]
        if missing:
            raise SpecError(f"tracing.otlp.headers.{name}: {missing[0]} is not set in the environment")
        filled = REFERENCE.sub(lambda match: environment[match.group(1)], text)
        if not filled.isprintable():
            raise SpecError(f"tracing.otlp.headers.{name}: a header cannot hold line breaks or control characters")
        return filled

    return {name: value(name, secret.get_secret_value()) for name, secret in config.headers.items()}


def _body(response: requests.Response, deadline: float) -> bytes:
    parts, size = [], 0
    for part in response.iter_content(4096):
        parts.append(part)
        size += len(part)
        if size > MOST_ANSWER_BYTES:
            raise requests.exceptions.ContentDecodingError("the back end's answer has no end")
        if time.monotonic() > deadline:
            raise requests.exceptions.ReadTimeout("the back end's answer takes too long")
    return b"".join(parts)
