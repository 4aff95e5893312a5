"""Spans that really leave the process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from llm_deploy.tracing import spans


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the machine's environment, and nobody who goes on listening."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "LLMDEPLOY_TRACING_"))]:
        monkeypatch.delenv(name)
    yield
    spans.listen(None)
