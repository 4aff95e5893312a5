"""Where the store on this machine is, and how it goes. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from llm_deploy.errors import FileWriteError

STORE_NAME = "traces.db"
STATE_FOLDER = "traces"
"""Of the user's data folder: services and `llmdeploy traces` mean the same file."""
PATH_VARIABLE = "LLMDEPLOY_TRACING_LOCAL_PATH"
COMPANIONS = ("", "-wal", "-shm")
"""SQLite's files."""


def remove(path: Path) -> list[Path]:
    """Delete the store with its companions. A service that writes to it makes a new one with its next batch.

    Raises:
        FileWriteError: The system does not let us.
    """
    removed = []
    for ending in COMPANIONS:
        file = path.with_name(path.name + ending)
        try:
            file.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FileWriteError(f"{file} cannot be deleted: {error.strerror}") from error
        removed.append(file)
    return removed
