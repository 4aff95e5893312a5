"""The models' regular expressions are Java's; this turns them into Python's."""

from __future__ import annotations

import re
from functools import lru_cache

_CLASSES = {
    "L": r"\w",
    "N": r"\d",
    "Z": r"\s",
    "Zs": r"\s",
    "M": "\u0300-\u036f",
    "S": r"$+<=>^`|~\u00a2-\u00b1\u2044-\u2bff",
    "P": r"!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u205e\u3001-\u303d",
    "ASCII": r"\x00-\x7f",
    "Alnum": r"A-Za-z0-9",
    "Print": r"\x20-\x7e",
}
r"""Python's `re` has no \p{..}. These are near enough: `\w` for letters also takes digits and the underscore, which
every pattern that has \p{L} in a class allows anyway."""

_PROPERTY = re.compile(r"\\p\{(\w+)\}")
_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"


@lru_cache(maxsize=2048)
def compiled(pattern: str) -> re.Pattern[str]:
    """A Java pattern as a Python one; meant for `fullmatch`, which is what AWS does.

    Raises:
        re.error: The pattern uses something else that Python lacks.
        LookupError: It uses a character property that is not in the table.
    """
    text = pattern.replace(_SURROGATES, r"\U00010000-\U0010ffff").replace(r"\z", r"\Z").replace(r"[\w-_]", r"[\w_-]")
    # `x${1,128}`: a slip in AWS's models; a repeated end-of-text is the end of the text.
    text = re.sub(r"\$\{\d+,\d+\}", "$", text)
    return re.compile(_PROPERTY.sub(lambda found: _property(text, found), text))


def _property(text: str, found: re.Match[str]) -> str:
    members = _CLASSES[found[1]]
    return members if _inside_class(text, found.start()) else f"[{members}]"


def _inside_class(text: str, position: int) -> bool:
    before = re.sub(r"\\.", "", text[:position])
    return before.rfind("[") > before.rfind("]")
