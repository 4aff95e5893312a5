"""What is taken out of texts, what stays, and that no rule can hang."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status, StatusCode
from pydantic import ValidationError

from llm_deploy.tracing.config import PatternRule, Redaction
from llm_deploy.tracing.redaction import Redactor
from llm_deploy.tracing.rules import BUILT_IN
from llm_deploy.tracing.scrub import Scrubber

SECRETS = {
    "aws-keys": ["AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
    "bearer-tokens": ["Bearer abc.def-123456", "Basic dXNlcjpwYXNz",
                      "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def"],
    "api-keys": ["sk-proj-abcdefghijklmnop1234", "hf_abcdefghijklmnopqrstuv", "ghp_abcdefghijklmnopqrst0123",
                 "api_key=0123456789abcdef", "password: hunter22"],
    "email": ["jane.doe+news@mail.example.co.uk"],
    "credit-card": ["4111 1111 1111 1111", "5500-0000-0000-0004"],
    "phone": ["+49 170 1234567", "+1 (415) 555-2671", "415-555-2671", "0170/1234567"],
    "ip": ["192.168.17.4", "2001:db8:0:0:0:0:0:1", "fe80::1"],
}  # fmt: skip
HARMLESS = [
    "The capital of France is Paris.", "version 1.2.3", "3.11.7", "12:30:45", "2026-11-25T19:20:00", "1234567890123456",
    "a@b", "the bearer of news", "sk-learn", "order 4111", "50% of 1,000,000", "x = y + z", "password reset", "C++17",
    "def token(self): return 1", "see section 12-34", "000-1",
]  # fmt: skip


@pytest.mark.parametrize(("rule", "secret"), [(rule, text) for rule, texts in SECRETS.items() for text in texts])
def test_each_rule_takes_out_what_it_is_for(rule: str, secret: str) -> None:
    """And leaves the words around it."""
    found = Redactor(Redaction(rules=(rule,))).text(f"before {secret} after")
    assert found == f"before [{rule}] after"


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_stays(text: str) -> None:
    """With every rule on."""
    assert Redactor(Redaction(rules=tuple(BUILT_IN))).text(text) == text


words = st.text(st.characters(codec="utf-8"), max_size=40)


@given(words, words, st.sampled_from([text for texts in SECRETS.values() for text in texts]))
def test_a_secret_between_any_words_does_not_survive(before: str, after: str, secret: str) -> None:
    """Nor inside JSON, nor with the text cut right behind its beginning."""
    redactor = Redactor(Redaction(rules=tuple(BUILT_IN)))
    text = f"{before} {secret} {after}"
    assert secret not in redactor.text(text)
    scrub = Scrubber(redactor, limit=len(before) + 8)
    span = ReadableSpan("x", attributes={"a": json.dumps([{"parts": [text, {text: text}]}]), "b": [text], "c": text})
    scrubbed = scrub(span)
    assert secret not in str(dict(scrubbed.attributes or {}))
    assert json.loads(str((scrubbed.attributes or {})["a"]))[0]["parts"]


def test_every_text_of_a_span_is_looked_at() -> None:
    """Name, attributes, events and what an error said; numbers in JSON too, since a card is one."""
    secret = "jane@example.com"
    span = ReadableSpan(
        f"find {secret}",
        attributes={"a": secret, "n": 7, "call": '{"card":4111111111111111}'},
        events=[Event(secret, {"b": secret}, 1)],
        status=Status(StatusCode.ERROR, secret),
    )
    scrubbed = Scrubber(Redactor(Redaction()), limit=100)(span)
    assert secret not in scrubbed.to_json()
    assert "4111111111111111" not in scrubbed.to_json()
    assert (scrubbed.attributes or {})["n"] == 7


def test_a_rule_that_takes_too_long_withholds_the_text(caplog: pytest.LogCaptureFixture) -> None:
    """Instead of hanging, or of letting it pass; it is said once."""
    slow = PatternRule(name="slow", pattern=r"(a+)+$")
    redactor = Redactor(Redaction(rules=(), patterns=(slow,)), slowest_rule_s=0.01)
    for _ in range(3):
        assert redactor.text("a" * 5000 + "b") == "[withheld: slow]"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("pattern", ["(", "a*", "", "x" * 501, "(?P<n>"])
def test_a_rule_that_is_none_is_refused(pattern: str) -> None:
    """Malformed, matching everywhere, or too long."""
    with pytest.raises(ValidationError):
        PatternRule(name="own", pattern=pattern)


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_long_texts_are_cut_and_are_valid_text(text: str, limit: int) -> None:
    """Halves of surrogate pairs too, which neither OTLP nor SQLite takes."""
    scrubbed = Scrubber(Redactor(Redaction(rules=())), limit=limit)(ReadableSpan("x", attributes={"a": text}))
    found = str((scrubbed.attributes or {})["a"])
    found.encode("utf-8")
    assert len(found) <= max(limit + 10, 4 * len(text))
