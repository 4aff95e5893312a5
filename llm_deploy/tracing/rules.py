"""The built-in redaction rules, and what a rule of one's own must satisfy.

Texts come from anywhere, so a pattern is trusted with neither time nor memory: `redaction` runs each with a limit. The
rules here look for secrets with a fixed beginning or a fixed form; they are a net and not a proof.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class BuiltIn(NamedTuple):
    """A rule: what it looks for; with `luhn`, runs of digits of which `cards_marked` takes out the cards."""

    pattern: str
    luhn: bool = False


BUILT_IN = {
    "aws-keys": BuiltIn(
        # Access key ids have a fixed form; secrets are known by the word before them only.
        r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}\b"
        r"|(?i:aws_?(?:secret(?:_?access)?_?key|session_?token)[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[A-Za-z0-9/+=]{16,}"
    ),
    "bearer-tokens": BuiltIn(
        r"(?i:\b(?:bearer|basic)\s{1,3})[A-Za-z0-9._~+/=-]{8,}"
        r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"
    ),
    "api-keys": BuiltIn(
        r"\b(?:sk|pk|rk|llmd|xox[abposr]|gh[opsur]|github_pat|glpat|hf|npm|pypi|AIza)[-_]?[A-Za-z0-9_-]{16,}"
        r"|(?i:\b(?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|passw(?:or)?d|secret)"
        r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\s\"',;]{6,}"
        r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
    ),
    "email": BuiltIn(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}"),
    "phone": BuiltIn(
        r"(?<![\w.])(?:\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ ./-]?\d{2,5}){1,5}"
        r"|\(?\d{3}\)?[ .-]\d{3}[.-]\d{4}|0\d{2,5}[ /-]\d{3,4}(?:[ -]?\d{2,4}){1,3})(?![\w.]\d|\w)"
    ),
    "credit-card": BuiltIn(r"(?<!\d)\d{3,19}(?:[ -]\d{3,19})*", luhn=True),
    "ip": BuiltIn(
        r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"
        r"|(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![0-9A-Fa-f:])"
        r"|(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}(?![0-9A-Fa-f:])"
    ),
}
"""By name; each match becomes `[name]`."""

SHORTEST_CARD, LONGEST_CARD = 13, 19
"""Digits. Source: ISO/IEC 7812-1, section 4; no network issues shorter ones than 13."""

# Cards before phones: both are runs of digits, and the first rule that matches names what was taken out.
DEFAULT_RULES = ("aws-keys", "bearer-tokens", "api-keys", "email", "credit-card", "phone")


def checked_pattern(pattern: str) -> str:
    """The pattern, if it is one.

    Raises:
        ValueError: It is no regular expression, or one that matches nothing at all (the empty text).
    """
    try:
        empty = re.compile(pattern).match("")
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    if empty is not None:
        raise ValueError("matches the empty text, so that it would be put between all characters")
    return pattern


def cards_marked(run: str, mark: str) -> str:
    """A run of groups of digits with each card in it replaced: whole groups, 13 to 19 digits, right by Luhn."""
    parts = re.split(r"([ -])", run)
    start, said = 0, ""
    while start < len(parts):
        end = _end_of_card(parts, start)
        said += mark if end else parts[start]
        start = end or start + 1
    return said


def _end_of_card(parts: list[str], start: int) -> int | None:
    """Where the card ends that begins with this part; groups and separators take turns."""
    digits = ""
    for end in range(start, len(parts), 2):
        digits += parts[end]
        if len(digits) > LONGEST_CARD or not digits.isdigit():
            return None
        if len(digits) >= SHORTEST_CARD and passes_luhn(digits):
            return end + 1
    return None


def passes_luhn(text: str) -> bool:
    """Whether the digits are those of a payment card. Source: ISO/IEC 7812-1, annex B."""
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]  # noqa: PLR2004 - 10 and above lose 9
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
