"""Where a target other than the default one is: what it announced in its state folder when it was ready.

The local cloud writes `cloud.json`; whoever wants to talk to it reads the file and asks the address whether it still
answers, since a cloud that was killed leaves its file behind.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

FILE_NAME = "cloud.json"
LARGEST_FILE_BYTES = 64 * 1024
HEALTH_TIMEOUT_S = 5.0

ACCESS_KEY = "LOCALCLOUD"
SECRET_KEY = "local-cloud-account-root"  # noqa: S105 - made up; no real account accepts it
"""The account root's credentials in every local cloud; a real cloud refuses them."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a cloud said about itself when it was ready; the fields of its file.

    Attributes:
        url: Address of every service.
        speed: AWS's durations are divided by it.
        started_at: ISO 8601, UTC.
    """

    pid: int
    port: int
    url: str
    region: str
    account: str
    speed: float
    started_at: str
    version: str


def announced(target: str) -> Announcement | None:
    """The target's address if it answers there, `None` otherwise. Blocks for `HEALTH_TIMEOUT_S` at most."""
    found = read_announcement(state_dir(target))
    return None if found is None or health(found) is None else found


def state_dir(target: str) -> Path:
    """`LLMDEPLOY_HOME`, else `llmdeploy/<target>` in the user's data folder."""
    if own := os.environ.get("LLMDEPLOY_HOME"):
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    root = Path(xdg) if xdg and Path(xdg).is_absolute() else Path.home() / ".local" / "share"
    return root / "llmdeploy" / target


def read_announcement(folder: Path) -> Announcement | None:
    """What the last cloud of this folder announced; `None` when it did not, or in the words of another version."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            document = json.loads(file.read(LARGEST_FILE_BYTES))
    except (OSError, ValueError):
        return None
    expected = {field.name for field in fields(Announcement)}
    return Announcement(**document) if isinstance(document, dict) and document.keys() == expected else None


def health(of: Announcement) -> dict[str, Any] | None:
    """What the cloud says of itself now; `None` when nothing answers there, or somebody else."""
    try:
        document = json.loads(ask(of.port, "GET", "/_local/health") or b"")
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("pid") == of.pid else None


def ask(port: int, method: str, path: str) -> bytes | None:
    """One request to a cloud's own interface; `None` when nothing answers. Not urllib: it would ask proxies."""
    import http.client  # noqa: PLC0415 - only those who ask need it

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
