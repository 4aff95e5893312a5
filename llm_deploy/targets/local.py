"""The local cloud as a process of this user: start it, find it, stop it, and say how to reach it.

The product meets the local cloud on the wire only. Here it is started (`python -m llm_deploy.emulator`, detached, its
output in `cloud.log`); from then on it is one more AWS endpoint.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from llm_deploy.errors import LocalCloudError, MissingExtraError, PortTakenError
from llm_deploy.settings.announcement import (
    ACCESS_KEY,
    SECRET_KEY,
    Announcement,
    ask,
    health,
    read_announcement,
    state_dir,
)

TARGET = "local"
DEFAULT_PORT = 4599
DEFAULT_SPEED = 60.0
EXECUTION_ROLE_NAME = "llmdeploy-local-execution"
"""Prepared in every local account, as an administrator would have done."""

STAND_IN_MODEL = "smollm2"
BACKEND_PACKAGE = ("ministack", "1.5.33", "36f9158cbe7eb7a3f910ccf1c052c98204511164249b783682f7a96ef56b0bba")
"""Name, version and sha256 of the wheel behind IAM, STS, S3 and others. See docs/decisions/0020."""

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.02
_NEEDED_MODULES = ("uvicorn", "httptools", "httpcore", "hypercorn", "defusedxml", "xllamacpp", "pip")
_EXTRA_HINT = "Install the extra `local`; in a clone: pip install -e '.[local]'"
_NO_DISK = {errno.ENOSPC, errno.EDQUOT}

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """A local cloud that answers.

    Attributes:
        speed: AWS's durations are divided by it.
        started_at: ISO 8601, UTC.
        endpoints, processes: SageMaker endpoints, and model server processes behind them.
        iam: It checks signatures and permissions.
        note: What whoever started it should be told; only `ensure_running` has such things to say.
    """

    pid: int
    port: int
    url: str
    region: str
    account: str
    speed: float
    started_at: str
    version: str
    endpoints: int
    processes: int
    iam: bool = True
    note: str | None = None

    def as_document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


class LocalCloud:
    """The local cloud of one state folder.

    Args:
        folder: Where state and logs are; by default `LLMDEPLOY_HOME`, else the user's data folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or default_state_dir()

    def state_dir(self) -> Path:
        """Where the cloud keeps everything; removing it, while the cloud is down, resets the cloud."""
        return self._folder

    @property
    def log_path(self) -> Path:
        """What the cloud's process writes."""
        return self._folder / "cloud.log"

    def status(self) -> LocalStatus | None:
        """The running cloud, or `None`; a file left by a killed one is not believed."""
        announced = self._announced()
        answer = health(announced) if announced else None
        if announced is None or answer is None:
            return None
        return LocalStatus(
            **asdict(announced),
            endpoints=int(answer.get("endpoints", 0)),
            processes=int(answer.get("processes", 0)),
            iam=bool(answer.get("iam", False)),
        )

    def ensure_running(
        self,
        port: int | None = None,
        speed: float | None = None,
        *,
        iam: bool | None = None,
        progress: Progress | None = None,
    ) -> LocalStatus:
        """Start the cloud unless it runs, and wait until it answers. Blocks; safe in several processes at once.

        The first start downloads the model and the backend (95 MB).

        Args:
            port: Port to listen on, 0 for any free one. By default 4599, or any free one when that is taken (a note).
            speed: What AWS's durations are divided by; 60 by default.
            iam: Check signatures and permissions; a cloud that is started now does by default.
            progress: Told about downloads: phase, bytes done, bytes in all.

        Raises:
            LocalCloudError: The port is taken, the disk is full, it died at its start, or it runs with other settings.
            MissingExtraError: The extra `local` is not installed.
            ModelFileError: The model's file is damaged or cannot be fetched.
        """
        running = self.status()
        if running is None:
            with self._start_lock():
                # Another command may have started it while we waited for the lock.
                running = self.status() or self._start(port, speed or DEFAULT_SPEED, progress, iam=iam is not False)
        _require_same(running, port, speed, iam=iam)
        return running

    def stop(self) -> bool:
        """Stop the cloud and everything it started; state is kept. Returns whether it was running.

        Raises:
            LocalCloudError: It does not end.
        """
        if not self._folder.is_dir():
            return False
        with self._start_lock():
            # Whoever was starting it is done now, so what it announced is true, or it has died.
            announced = self._announced()
            if announced is None or not self._runs():
                return False
            ask(announced.port, "POST", "/_local/stop")
            self._end(announced.pid)
        return True

    def environment(self, status: LocalStatus | None = None) -> dict[str, str]:
        """Variables that point foreign AWS programs, and `llmdeploy` itself, at the running cloud.

        Args:
            status: What `status()` has just said; it is asked when not given.

        Raises:
            LocalCloudError: It is not running.
        """
        status = status or self.status()
        if status is None:
            raise LocalCloudError("the local cloud is not running", hint="Start it: llmdeploy local up")
        return {
            "AWS_ENDPOINT_URL": status.url,
            "AWS_REGION": status.region,
            "AWS_DEFAULT_REGION": status.region,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ARN_ROLE": f"arn:aws:iam::{status.account}:role/{EXECUTION_ROLE_NAME}",
            "LLMDEPLOY_TARGET": TARGET,
        }

    def role_environment(self, role: str) -> dict[str, str]:
        """As `environment`, with temporary credentials of a role of the local account, valid for an hour.

        Args:
            role: Its name or its ARN; its trust policy must name the account.

        Raises:
            LocalCloudError: The cloud is not running.
            AccessDeniedError: There is no such role, or it may not be assumed.
        """
        from llm_deploy.aws import Session, aws_errors  # noqa: PLC0415 - the rest needs no AWS library

        status = self.status()
        variables = self.environment(status)
        arn = role if role.startswith("arn:") else f"arn:aws:iam::{status.account if status else ''}:role/{role}"
        session = Session(
            region=variables["AWS_REGION"],
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            access_key=variables["AWS_ACCESS_KEY_ID"],
            secret_key=variables["AWS_SECRET_ACCESS_KEY"],
        )
        with aws_errors(f"assume {arn}"):
            given = session.client("sts").assume_role(RoleArn=arn, RoleSessionName="local-env")["Credentials"]
        return variables | {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def _announced(self) -> Announcement | None:
        """What the last cloud of this folder said about itself when it was ready."""
        return read_announcement(self._folder)

    def _runs(self) -> bool:
        """Whether a process holds the cloud's lock, which the system releases at its death.

        More certain than its process id, which may be a zombie's, or somebody else's by now.
        """
        try:
            with (self._folder / "cloud.lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _end(self, pid: int) -> None:
        """Wait for the cloud's end; ask again, less kindly, when it takes too long."""
        if self._ended(STOP_TIMEOUT_S):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if self._ended(STOP_TIMEOUT_S / 2):
                return
        raise LocalCloudError(f"the local cloud (process {pid}) does not end", hint=f"See {self.log_path}")

    def _ended(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self._runs():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    @contextlib.contextmanager
    def _start_lock(self) -> Iterator[None]:
        """Two commands at once start one cloud; the system releases the lock when its holder dies."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self._folder / "start.lock").open("w")
        except OSError as error:
            raise self._disk_error(error) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _start(self, port: int | None, speed: float, progress: Progress | None, *, iam: bool) -> LocalStatus:
        _require_extra()
        from llm_deploy.service_models import cache_folder  # noqa: PLC0415 - a cloud that runs needs none of it
        from llm_deploy.serving import models  # noqa: PLC0415 - as above

        model = models.pull(STAND_IN_MODEL, progress=progress)
        backend = models.fetch_package(*BACKEND_PACKAGE, progress=progress)
        # Containers have no home of this user's, so they are told where a model for embeddings would lie.
        server = [sys.executable, "-m", "llm_deploy.serving", "--model", str(model)]
        server += ["--cache", str(cache_folder())]
        arguments = [
            *("--state-dir", str(self._folder)),
            *("--speed", str(speed)),
            *("--model-server", json.dumps(server)),
            *("--model-name", models.known(STAND_IN_MODEL).served_name),
            *("--backend-path", str(backend)),
            *(() if iam else ("--no-iam",)),
        ]
        if port is not None:
            return self._launch([*arguments, "--port", str(port)])
        try:
            return self._launch([*arguments, "--port", str(DEFAULT_PORT)])
        except PortTakenError:
            status = self._launch([*arguments, "--port", "0"])
            return replace(status, note=f"port {DEFAULT_PORT} is taken by another program; using {status.port}")

    def _launch(self, arguments: list[str]) -> LocalStatus:
        try:
            with self.log_path.open("wb") as log:
                process = _detached([sys.executable, "-m", "llm_deploy.emulator", *arguments], self._folder, log)
        except OSError as error:
            raise self._disk_error(error) from error
        return self._wait_until_ready(process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> LocalStatus:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise self._died(process.returncode)
            # Until the new cloud announces itself the file may be that of one that was killed.
            status = self.status()
            if status is not None and status.pid == process.pid:
                return status
            time.sleep(_POLL_S)
        process.terminate()
        raise LocalCloudError(
            f"the local cloud was not ready within {START_TIMEOUT_S:.0f} s; its last lines:\n{self._last_lines()}",
            hint=f"The whole log: {self.log_path}",
        )

    def _died(self, code: int) -> LocalCloudError:
        lines = self._last_lines()
        cause = lines.rpartition("\n")[2].removeprefix("local cloud: ")
        if code == LocalCloudError.exit_code and "is taken by another program" in cause:
            return PortTakenError(f"the local cloud cannot start: {cause}", hint="Choose another: --port 0 takes any.")
        if code == LocalCloudError.exit_code:
            return LocalCloudError(
                f"the local cloud cannot start: {cause}", hint="If one runs and does not answer: llmdeploy local down"
            )
        return LocalCloudError(
            f"the local cloud died at its start (exit code {code}); its last lines:\n{lines}",
            hint=f"The whole log: {self.log_path}",
        )

    def _last_lines(self, count: int = 8) -> str:
        try:
            lines = self.log_path.read_text("utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-count:])

    def _disk_error(self, error: OSError) -> LocalCloudError:
        if error.errno in _NO_DISK:
            return LocalCloudError(
                f"no room on the disk for {self._folder}", hint="Free some, or set LLMDEPLOY_HOME to another disk."
            )
        return LocalCloudError(
            f"cannot write to {self._folder}: {error.strerror}", hint="Set LLMDEPLOY_HOME to a folder of yours."
        )


def default_state_dir() -> Path:
    """`LLMDEPLOY_HOME`, else `llmdeploy/local` in the user's data folder."""
    return state_dir(TARGET)


def _require_extra() -> None:
    missing = [name for name in _NEEDED_MODULES if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"the local cloud needs {', '.join(missing)}, not installed here", hint=_EXTRA_HINT)


def _require_same(running: LocalStatus, port: int | None, speed: float | None, *, iam: bool | None) -> None:
    differs = []
    if port and port != running.port:
        differs.append(f"on port {running.port}, not {port}")
    if speed and speed != running.speed:
        differs.append(f"at speed {running.speed:g}, not {speed:g}")
    if iam is not None and iam is not running.iam:
        differs.append("with IAM enforced" if running.iam else "without enforcing IAM")
    if differs:
        raise LocalCloudError(
            f"the local cloud already runs {' and '.join(differs)}", hint="Stop it first: llmdeploy local down"
        )


def _detached(command: list[str], folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that outlives us, our terminal and its Ctrl-C. It gets none of our AWS settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
