"""Takes what rules match out of texts, each rule with a limit on its time; a text that it cannot finish is withheld.

Patterns run in the `regex` module, which can be interrupted and lets other threads run meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex

from llm_deploy.tracing.config import Redaction
from llm_deploy.tracing.rules import BUILT_IN, cards_marked

SLOWEST_RULE_S = 0.1
"""For one rule on one text of bounded length; the built-in ones take well below a millisecond."""
REPEATED_TEXT = 64
"""Characters up to which a text (a route, a model's name) may well be one that was looked through before."""
REMEMBERED = 1024
QUICK_TEXT = 2000
"""Characters up to which a built-in rule runs without a watch, which costs ten times what the rule does."""
SHORTEST_TEXT = 6
"""Characters; nothing shorter can hold what the built-in rules look for, and most attributes are shorter."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    pattern: Any
    replacement: Callable[[Any], str]
    trusted: bool


class Redactor:
    """A fixed list of rules, in order. Safe to use from several threads."""

    def __init__(self, redaction: Redaction, *, slowest_rule_s: float = SLOWEST_RULE_S) -> None:
        built_in = (_compiled(name, *BUILT_IN[name], trusted=True) for name in redaction.rules)
        own = (_compiled(rule.name, rule.pattern, luhn=False, trusted=False) for rule in redaction.patterns)
        self._rules = (*built_in, *own)
        self._shortest = 1 if redaction.patterns else SHORTEST_TEXT
        self._slowest_rule_s = slowest_rule_s
        self._named: set[str] = set()
        self._repeated = lru_cache(maxsize=REMEMBERED)(self._redacted)

    def text(self, text: str) -> str:
        """The text with each match replaced by `[rule]`; `[withheld: rule]` where a rule takes too long."""
        if len(text) < self._shortest:
            return text
        return self._repeated(text) if len(text) <= REPEATED_TEXT else self._redacted(text)

    def _redacted(self, text: str) -> str:
        for rule in self._rules:
            if rule.trusted and len(text) <= QUICK_TEXT:
                text = rule.pattern.sub(rule.replacement, text)
                continue
            try:
                text = rule.pattern.sub(rule.replacement, text, timeout=self._slowest_rule_s, concurrent=True)
            except TimeoutError:
                self._say_slow(rule.name)
                return f"[withheld: {rule.name}]"
        return text

    def _say_slow(self, name: str) -> None:
        if name not in self._named:
            self._named.add(name)
            logger.warning("redaction rule %r takes too long; texts are withheld whole, said once", name)


def _compiled(name: str, pattern: str, luhn: bool, *, trusted: bool) -> _Rule:  # noqa: FBT001 - a field of `BuiltIn`
    mark = f"[{name}]"

    def checked(match: Any) -> str:  # noqa: ANN401 - regex ships no types
        return cards_marked(match.group(), mark)

    return _Rule(name, regex.compile(pattern), checked if luhn else lambda _match: mark, trusted)
