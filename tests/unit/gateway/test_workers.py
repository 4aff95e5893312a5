"""Several processes on one socket, and the signals that end them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_deploy.errors import SpecError
from llm_deploy.gateway.config import GatewayConfig
from llm_deploy.gateway.workers import check_shared

WORKER = """
import signal, sys, time
def told(number, frame):
    with open(sys.argv[1], "a") as file:
        file.write(f"{number} ")
signal.signal(signal.SIGTERM, told)
signal.signal(signal.SIGINT, told)
print("up", flush=True)
for _ in range(40):
    time.sleep(0.05)
"""
PARENT = """
import socket, sys
from llm_deploy.gateway.workers import Workers
with socket.create_server(("127.0.0.1", 0)) as listener:
    Workers([sys.executable, "-c", sys.argv[1], sys.argv[2]], listener, 1).run(lambda: print("up", flush=True))
"""


@pytest.mark.parametrize("times", [1, 2])
def test_each_ctrl_c_reaches_a_worker_once(tmp_path: Path, times: int) -> None:
    """One lets answers finish; a second ends them. From a terminal it goes to the whole group of processes."""
    told = tmp_path / "told"
    command = [sys.executable, "-c", PARENT, WORKER, str(told)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        for number in range(times):
            os.killpg(parent.pid, signal.SIGINT)
            while not told.exists() or len(told.read_text().split()) <= number:
                time.sleep(0.01)
        parent.wait(10)
    assert told.read_text().split() == [str(int(signal.SIGTERM))] * times


def test_workers_do_not_share_an_embedded_index() -> None:
    """One process has it; the others would answer `/rag` with 503. A server they share."""
    document = {"models": {"m": {"backends": [{"url": "http://127.0.0.1:1"}]}}, "keys": "off", "rag": {}}
    with pytest.raises(SpecError, match="belongs to one process, and 2 workers"):
        check_shared(GatewayConfig.model_validate(document), 2)
    document["rag"] = {"store": {"url": "http://127.0.0.1:6333"}}
    check_shared(GatewayConfig.model_validate(document), 2)
