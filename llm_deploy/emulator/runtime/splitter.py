"""Cuts a stream at arbitrary places, so that no client gets away with trusting one event a part.

AWS promises nothing about where a PayloadPart begins. Ledger: `runtime.split`.
"""

from __future__ import annotations

import random

HOLD_CHANCE = 0.25
"""How often the second half of a chunk waits for the next chunk, so that one part holds pieces of two events."""
HOLD_S = 0.05
"""Real seconds after which what is held goes out alone."""


class Splitter:
    """Pieces of a stream; joined, they are the stream."""

    def __init__(self, rng: random.Random | None) -> None:
        """Without a generator nothing is cut."""
        self._rng = rng
        self.held = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The pieces to send now."""
        if self._rng is None:
            return [chunk]
        data, self.held = self.held + chunk, b""
        if len(data) < 2:  # noqa: PLR2004 - one byte cannot be cut
            return [data]
        cut = self._rng.randrange(1, len(data))
        if self._rng.random() < HOLD_CHANCE:
            self.held = data[cut:]
            return [data[:cut]]
        return [data[:cut], data[cut:]]

    def flush(self) -> list[bytes]:
        """What was held, if anything."""
        held, self.held = self.held, b""
        return [held] if held else []
