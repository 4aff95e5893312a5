"""README's Python, word for word, with a local cloud and nothing set but where it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Terminal

pytestmark = [pytest.mark.row("T3"), pytest.mark.row("T5"), pytest.mark.xdist_group("local-cloud")]

WATCHED = """\
import socket

_connect, _look_up = socket.socket.connect, socket.getaddrinfo


def connect(self, address):
    assert self.family == socket.AF_UNIX or address[0] in {"127.0.0.1", "::1"}, f"connected to {address}"
    return _connect(self, address)


def look_up(host, *more, **named):
    assert host in {"127.0.0.1", "localhost", "::1"}, f"looked up {host}"
    return _look_up(host, *more, **named)


socket.socket.connect, socket.getaddrinfo = connect, look_up
"""


def block() -> str:
    """The page's only Python."""
    found: list[str] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(found) == 1
    return found[0]


def test_the_python_of_the_readme_works_with_the_target_alone(local_cloud: Terminal) -> None:
    """Deployed, asked and streamed at one target, with text; no other address is connected to or looked up."""
    script = local_cloud.folder / "readme.py"
    script.write_text(WATCHED + block())
    kept = {name: os.environ[name] for name in ("PATH", "LLMDEPLOY_CACHE", "XDG_CACHE_HOME") if name in os.environ}
    environment = kept | {"HOME": str(local_cloud.folder)} | dict(local_cloud.environment)
    try:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=local_cloud.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        local_cloud.run("delete-endpoint", "twin", "--yes", code=None)
    executed, _, streamed = done.stdout.partition("\n")
    assert "twin" in executed
    assert "twin" in streamed


def test_the_watch_would_have_seen_it() -> None:
    """The script above is stopped when it looks anybody else up."""
    script = WATCHED + "socket.create_connection(('sagemaker.eu-central-1.amazonaws.com', 443))\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "looked up sagemaker" in done.stderr


def test_a_client_without_its_local_cloud_says_so(terminal: Terminal) -> None:
    """Never AWS instead: one error, with the command that helps."""
    script = "from llm_deploy import LLMInferenceSagemakerEndpoint as L; L('twin').defaults()"
    environment = terminal.env(LLMDEPLOY_TARGET="local")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + script],
        cwd=terminal.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "LocalCloudError" in done.stderr
