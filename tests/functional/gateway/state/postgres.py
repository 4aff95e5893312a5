"""A real PostgreSQL server of this test session's own, from Debian's package, as an ordinary user on a private port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REQUIRED = "LLMDEPLOY_REQUIRE_POSTGRES"
"""Set where a missing server is a failure and not a reason to skip: by .ci/run."""
USER = "postgres"
"""Debian's package makes it."""
START_TIMEOUT_S = 60.0
SETTINGS = {"fsync": "off", "max_connections": "60"}
"""What is committed survives a crash of the server, though not one of the machine."""


def binaries() -> Path | None:
    """The folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def required_binaries() -> Path:
    """As above; where there is none, the test is skipped, or fails if it is required."""
    found = binaries()
    if found is None:
        reason = "no PostgreSQL server: apt-get install --no-install-recommends postgresql"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@dataclass
class PostgresServer:
    """The server. It may be stopped and started again; its address stays.

    Attributes:
        folder: Data, socket and log.
    """

    binaries: Path
    folder: Path
    port: int
    password: str = "of-this-test-only"
    _databases: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def initialise(self) -> None:
        """Make the cluster; whoever connects has to show the password."""
        self.folder.chmod(0o755)
        secret = self.folder / "password"
        secret.write_text(self.password)
        self._hand_over(self.folder)
        self._hand_over(secret)
        self._run("initdb", "-D", self._data, "-U", "gateway", "--pwfile", str(secret), "-A", "scram-sha-256", "-N")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        program = [*_as_ordinary_user(), str(self.binaries / "postgres")]
        where = ["-D", self._data, "-k", "", "-h", "127.0.0.1", "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*program, *where, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once; connections break."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def new_database(self) -> str:
        """The URL of an empty database, without the password."""
        self._databases += 1
        name = f"gateway_{self._databases}"
        arguments = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "gateway", name)
        self._run("createdb", *arguments, PGPASSWORD=self.password)
        return f"postgresql+psycopg://gateway@127.0.0.1:{self.port}/{name}"

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str, **more: str) -> None:
        done = subprocess.run(
            [*_as_ordinary_user(), str(self.binaries / program), *arguments],
            env=os.environ | more,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @staticmethod
    def _hand_over(path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, USER, USER)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_ordinary_user() -> list[str]:
    """What stands before a command of PostgreSQL, which refuses to run as root."""
    return [] if os.geteuid() else ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
