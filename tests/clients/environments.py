"""Environments of the foreign programs: made once, pinned by name and version, kept below the user's cache folder.

A folder's name carries the hash of what is pinned and of what it is installed for, so a changed pin makes another
folder. It counts only with its stamp, which is written last and under a lock: an interrupted making leaves nothing that
is believed, and two workers make one environment.

Making one takes about 10 s for awscli, 20 s for each SDK and for LangChain and 4 s for JavaScript, on two cores with a
good connection; all are 1.0 GB. The whole folder of tests then takes 2:40 with two workers, 4:10 on a fresh machine;
most of it is the waiting of programs that ask for the status every 30 seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
STAMP = ".complete"
MAKING_TIMEOUT_S = 600


def python(name: str, described_in: Path = HERE / "requirements") -> Path:
    """The interpreter of the environment that `<name>.txt` of a folder describes; made when it is not there."""
    pinned = described_in / f"{name}.txt"
    folder = _folder(name, f"{sys.version} {sys.base_prefix}", pinned)
    _made_once(folder, lambda: _make_python(folder, pinned))
    return folder / "bin" / "python"


def node_modules() -> Path:
    """The folder for `NODE_PATH`, with what `javascript/package-lock.json` pins; made when it is not there.

    Raises:
        FileNotFoundError: There is no npm.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm")
    pinned = [HERE / "javascript" / name for name in ("package.json", "package-lock.json")]
    folder = _folder("javascript", "npm", *pinned)
    _made_once(folder, lambda: _make_node(npm, folder, pinned))
    return folder / "node_modules"


def _folder(name: str, made_for: str, *pinned: Path) -> Path:
    content = made_for.encode() + b"".join(path.read_bytes() for path in pinned)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "llmdeploy-tests" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def _made_once(folder: Path, make: Callable[[], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / STAMP).exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        make()
        (folder / STAMP).touch()


def _make_python(folder: Path, pinned: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    # Everything is pinned, so there is nothing to resolve; nothing is built, so no package's code runs; and modules are
    # compiled when they are imported, because most never are.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--no-compile"]
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", *options, "--requirement", str(pinned)])


def _make_node(npm: str, folder: Path, pinned: list[Path]) -> None:
    folder.mkdir()
    for path in pinned:
        shutil.copy(path, folder)
    _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=_plain(os.environ), capture_output=True, text=True, check=False, timeout=MAKING_TIMEOUT_S
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what would let this environment's packages into the other."""
    return {name: value for name, value in environment.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
