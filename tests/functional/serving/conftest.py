"""The real model, three ways: the server as a process, its application in this process, and the bare engine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_deploy.serving import models
from llm_deploy.serving.admission import Admission
from llm_deploy.serving.app import ModelServer
from llm_deploy.serving.contract import DialectName
from llm_deploy.serving.generation import Generator
from llm_deploy.serving.journal import Journal
from llm_deploy.serving.llamacpp import LlamaCpp
from llm_deploy.serving.shapes.asked import Limits
from tests.functional.serving.servers import Running, running


@pytest.fixture(scope="session")
def model() -> Path:
    """The model's file."""
    return models.pull("smollm2")


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with four slots, as the local cloud starts it."""
    with running(model, tmp_path_factory.mktemp("server"), "--served-model-name", "tiny") as it:
        yield it


@pytest.fixture(scope="session")
def engine(model: Path) -> Iterator[LlamaCpp]:
    """The engine in this process."""
    it = LlamaCpp(model, context_tokens=2048)
    it.load()
    yield it
    it.close()


@pytest.fixture(scope="session")
def bare(engine: LlamaCpp) -> Iterator[httpx.Client]:
    """llama.cpp's own HTTP server, with nothing of ours in between.

    A connection for each request: llama.cpp closes an idle one without a word, and a request may be on its way then.
    """
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(engine.socket)),
        base_url="http://engine",
        timeout=60,
        headers={"connection": "close"},
    ) as it:
        yield it


@pytest.fixture
def application(engine: LlamaCpp) -> Callable[[DialectName], Any]:
    """The application in this process, speaking one dialect on `/invocations`."""

    @asynccontextmanager
    async def make(dialect: DialectName) -> AsyncIterator[httpx.AsyncClient]:
        admission = Admission(parallel=4, capacity=8)
        generator = Generator(engine, Limits(2047, 2048), admission, Journal(time.monotonic), "tiny")
        app = ModelServer(generator, dialect=dialect, payload_bytes=2_000_000, max_concurrent_requests=8)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=60) as client:
            yield client

    return make
