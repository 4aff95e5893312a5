"""A text as sentences, for comparing texts sentence by sentence."""

from __future__ import annotations

import re

# The last three are the full stop, the exclamation and the question mark of Chinese and Japanese.
_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|(?<=[\u3002\uff01\uff1f])|\n\s*\n|\n(?=\s*[-*•#])")
_SHORTEST = 16
"""Characters below which a piece is no sentence of its own (`e.g. `, `Dr. `, a number) but the next one's beginning."""


def sentences(text: str) -> list[str]:
    """Split at sentence ends, blank lines and list items. Never empty: at least the whole text."""
    found: list[str] = []
    begun = ""
    for piece in _END.split(text):
        begun = f"{begun} {piece.strip()}".strip()
        if len(begun) >= _SHORTEST:
            found.append(begun)
            begun = ""
    if begun and found and len(begun) < _SHORTEST:
        found[-1] = f"{found[-1]} {begun}"
    elif begun:
        found.append(begun)
    return found or [text]
