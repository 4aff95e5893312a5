"""A gateway and a proxy as a person starts them, for clients that nobody here wrote."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Terminal

CONFIG = """
keys: required
target: local
models:
  twin:
    backends: [{endpoint: twin}]
    default_tokens: 8
  gone:
    backends: [{url: "http://127.0.0.1:9/v1"}]
  minilm:
    backends: [{url: "%s/v1"}]
state: {url: "sqlite:///%s"}
"""
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Served:
    """A server that listens: its address, and keys by the names that the programs know them by."""

    url: str
    keys: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def gateway(terminal: Terminal, folder: Path) -> Iterator[Served]:
    """A gateway over the deployment `twin`, a backend that is not there, and a server of vectors; three keys."""
    with running(terminal, "serve", "minilm", "--port", "0") as vectors:
        config = folder / "gateway.yaml"
        config.write_text(CONFIG % (vectors.url, folder / "state.db"), "utf-8")
        keys = {
            "KEY": made_key(terminal, folder, "all"),
            "KEY_NARROW": made_key(terminal, folder, "narrow", "--scope", "models"),
            "KEY_SLOW": made_key(terminal, folder, "slow", "--requests-per-minute", "1"),
        }
        with running(terminal, "gateway", "run", str(config), "--port", "0") as served:
            yield Served(served.url, keys)


def made_key(terminal: Terminal, folder: Path, name: str, *options: str) -> str:
    """The secret of a new key."""
    state = f"sqlite:///{folder / 'state.db'}"
    made = terminal.run("gateway", "keys", "create", name, *options, "--state", state, "--json")
    return str(made.json["secret"])


@contextmanager
def running(terminal: Terminal, *arguments: str) -> Iterator[Served]:
    """A command that serves; ready when it has said its address, and stopped by SIGTERM."""
    process = terminal.start(*arguments)
    said: list[str] = []
    try:
        stream = process.stdout if arguments[0] in {"gateway", "proxy"} else process.stderr
        for line in stream or ():
            said.append(line)
            if found := _ADDRESS.search(line):
                drain(process)
                yield Served(found[0])
                break
        else:
            raise AssertionError(f"{' '.join(arguments)} did not start:\n{''.join(said)}\n{process.communicate()}")
    finally:
        process.terminate()
        process.wait(60)


def drain(process: subprocess.Popen[str]) -> None:
    """Read what a server says from now on, so that it never waits for a reader of its log."""
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            threading.Thread(target=stream.read, daemon=True).start()


def headers(key: str) -> dict[str, str]:
    """Of a caller."""
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}


def body(**more: object) -> str:
    """A short chat."""
    asked = {"model": "twin", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    return json.dumps({**asked, **more})
