"""LangChain's own standard tests, over our chat model and a real model server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from llm_deploy.serving import models
from tests.clients import environments
from tests.conftest import ROOT
from tests.functional.serving.servers import Running, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("client-langchain"),
    pytest.mark.row("T5"),
]


@pytest.fixture
def nothing_left() -> None:
    """No cloud takes part."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A model server."""
    with running(models.pull("smollm2"), tmp_path_factory.mktemp("server"), "--served-model-name", "tiny") as it:
        yield it


def test_our_chat_model_is_one_as_langchain_understands_it(server: Running) -> None:
    """Unit and integration tests; those of tools are not run, since the stand-in's template has none.

    Serialisation is compared with a snapshot that a project keeps; we keep none.
    """
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-c",
        os.devnull,
        "--rootdir",
        "/",
        "-o",
        "asyncio_mode=auto",
    ]
    program = environments.HERE / "programs" / "langchain_standard.py"
    done = subprocess.run(
        [environments.python("langchain-standard"), "-m", "pytest", *options, "-k", "not serdes", program],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(server.folder),
            "PYTHONPATH": str(ROOT),
            "LLMDEPLOY_TEST_URL": f"{server.url}/v1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:]
