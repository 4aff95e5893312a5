"""What a good answer is: limits on one request, and the share of requests that must keep them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llm_deploy.errors import SpecError

EXPECTED = "expected limits such as ttft=500ms,tpot=50ms,total=10s (any of ttft, tpot, gap, total)"
_LIMIT = re.compile(r"(?P<name>ttft|tpot|gap|total)(?:=|<=|<)(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s)")


@dataclass(frozen=True, slots=True)
class Slo:
    """Limits in seconds; `None` is no limit.

    Attributes:
        ttft_s: From when the request was due to its first token.
        tpot_s: Mean time of each further token.
        gap_s: Longest silence between two tokens.
        total_s: From when the request was due to the end of its answer.
        share: Least share of requests, 0 to 1, that must keep all limits; failed ones do not.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    gap_s: float | None = None
    total_s: float | None = None
    share: float = 0.99

    def kept(self, *, ttft_s: float, tpot_s: float, gap_s: float, total_s: float) -> bool:
        """Whether one answer keeps all limits."""
        pairs = ((self.ttft_s, ttft_s), (self.tpot_s, tpot_s), (self.gap_s, gap_s), (self.total_s, total_s))
        return all(limit is None or value <= limit for limit, value in pairs)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, in seconds, by name."""
        found = {"ttft": self.ttft_s, "tpot": self.tpot_s, "gap": self.gap_s, "total": self.total_s}
        return {name: value for name, value in found.items() if value is not None}


def slo(text: str | None, share: float = 0.99) -> Slo:
    """Read `ttft=500ms,tpot=50ms`; nothing is no limits, so that every answer is good.

    Raises:
        SpecError: It is something else, or a name stands twice.
    """
    limits: dict[str, float] = {}
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        found = _LIMIT.fullmatch(part)
        if found is None or f"{found['name']}_s" in limits:
            raise SpecError(f"--slo {part}: {EXPECTED}")
        limits[f"{found['name']}_s"] = float(found["number"]) / (1000 if found["unit"] == "ms" else 1)
    return Slo(**limits, share=share)
