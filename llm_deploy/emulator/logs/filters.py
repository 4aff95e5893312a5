"""CloudWatch Logs' filter patterns, as far as text goes: words, quoted phrases, `?any` and `-not`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_STRUCTURED = ("{", "[", "%")


class UnsupportedPatternError(Exception):
    """A JSON, space-delimited or regular-expression pattern: AWS has them, the local cloud does not."""


@dataclass(frozen=True, slots=True)
class TextFilter:
    """All of `required`, none of `excluded`, and one of `any_of` if there are any. Case matters, as at AWS."""

    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()

    def matches(self, message: str) -> bool:
        """Whether a message passes."""
        return (
            all(term in message for term in self.required)
            and not any(term in message for term in self.excluded)
            and (not self.any_of or any(term in message for term in self.any_of))
        )


def text_filter(pattern: str) -> TextFilter:
    """The filter that a pattern describes; the empty one lets everything pass.

    Raises:
        UnsupportedPatternError: It is no text pattern.
    """
    if pattern.strip().startswith(_STRUCTURED):
        raise UnsupportedPatternError(pattern)
    terms: dict[str, list[str]] = {"": [], "-": [], "?": []}
    for sign, quoted, plain in _TERM.findall(pattern):
        terms[sign].append(re.sub(r"\\(.)", r"\1", quoted) if quoted else plain)
    return TextFilter(tuple(terms[""]), tuple(terms["-"]), tuple(terms["?"]))
