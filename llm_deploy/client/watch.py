"""A deadline over reads that block: when it passes, the connection is shut and the read wakes up."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Watch:
    """Shuts something down after so many seconds, unless it is disarmed first.

    Attributes:
        fired: The deadline passed; what the read then raises is a consequence of it.
    """

    def __init__(self, after_s: float | None, shut: Callable[[], None]) -> None:
        self.fired = False
        self._shut = shut
        self._timer = None if after_s is None else threading.Timer(max(after_s, 0.0), self._fire)
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        """Stop watching; harmless when called again."""
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self.fired = True
        self._shut()
