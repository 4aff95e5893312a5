"""Dying with the parent: no process of the local cloud outlives it, not even after SIGKILL.

Two independent ropes. The parent holds the write end of our standard input and never writes: when it ends, however it
ends, the kernel closes the pipe and we read end-of-file. On Linux the kernel is also asked for a SIGKILL at the
parent's death, which works while Python is busy.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""


def hold() -> None:
    """Exit this process, hard, as soon as its parent is gone. Call once, from the main thread, early."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_exit_at_end_of_file, name="lifeline", daemon=True).start()


def _exit_at_end_of_file() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)  # hard: a generation or a handler that is still running must not keep us alive
