"""What has happened to spans in this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums since the start, for metrics; they only grow.

    Attributes:
        exported: Accepted by an exporter.
        failed: Given up by an exporter: the back end is down, slow or refuses them.
        dropped: Not kept because a queue was full, or a stop did not wait longer.
    """

    exported: int = 0
    failed: int = 0
    dropped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.exported + other.exported, self.failed + other.failed, self.dropped + other.dropped)
