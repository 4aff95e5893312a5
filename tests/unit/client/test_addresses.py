"""From one address to those of prompts, chats and vectors; and keys that are not shown."""

from __future__ import annotations

import pytest

from llm_deploy.client.addresses import addresses, is_url, without_login
from llm_deploy.client.endpoint import LLMInferenceHttpEndpoint
from llm_deploy.client.headers import Headers, with_key
from llm_deploy.errors import SpecError

pytestmark = pytest.mark.row("T5")

V1 = ("http://h/v1/completions", "http://h/v1/completions", "http://h/v1/chat/completions", "http://h/v1/embeddings")


@pytest.mark.parametrize(
    ("url", "dialect", "found", "spoken"),
    [
        ("http://h/v1", "auto", V1, "openai"),
        ("http://h/v1/", "auto", V1, "openai"),
        ("http://h", "auto", V1, "openai"),
        ("http://h/", "openai", V1, "openai"),
        ("http://h/v1/completions", "auto", V1, "openai"),
        ("http://h/v1/embeddings", "auto", V1, "openai"),
        ("http://h/v1/chat/completions", "auto", (V1[2], V1[2], V1[2], V1[3]), "openai-chat"),
        ("http://h/v1", "openai-chat", (V1[2], V1[2], V1[2], V1[3]), "openai-chat"),
        ("http://h/invocations", "auto", ("http://h/invocations",) * 4, "auto"),
        ("http://h/invocations", "lmi", ("http://h/invocations",) * 4, "lmi"),
        ("http://h/", "tgi", ("http://h/",) * 4, "tgi"),
        (
            "http://h/generate",
            "auto",
            ("http://h/generate", "http://h/generate_stream", "http://h/v1/chat/completions", "http://h/embed"),
            "tgi",
        ),
    ],
)
def test_addresses_follow_from_one(url: str, dialect: str, found: tuple[str, ...], spoken: str) -> None:
    """A base, or any of the addresses."""
    at = addresses(url, dialect)
    assert (at.prompts, at.prompt_stream, at.chats, at.embeddings) == found
    assert at.dialect == spoken


def test_query_and_port_stay() -> None:
    """Some gateways want a version in the query."""
    assert addresses("https://h:8/v1?version=2", "auto").chats == "https://h:8/v1/chat/completions?version=2"


@pytest.mark.parametrize("url", ["", "h:8080", "ftp://h/", "http://", "http:///v1", "http://[bad/v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """Without showing it: it may hold a password."""
    with pytest.raises(SpecError, match="not an HTTP address"):
        addresses(url, "auto")


def test_a_login_in_an_address_goes_into_a_header() -> None:
    """Errors show addresses."""
    url, headers = without_login("http://me:p%40ss@h:8/v1")
    assert url == "http://h:8/v1"
    assert headers == {"Authorization": "Basic bWU6cEBzcw=="}
    assert without_login("http://h/v1") == ("http://h/v1", {})


def test_names_are_no_addresses() -> None:
    """So that one argument may be either."""
    assert not is_url("twin")
    assert is_url("https://h")


def test_headers_show_their_names_only() -> None:
    """In messages and in tracebacks that show values; a header of one's own goes before the key."""
    headers = with_key({"X-Team": "secret-team"}, "secret-key")
    assert dict(headers) == {"Authorization": "Bearer secret-key", "X-Team": "secret-team"}
    assert "secret" not in repr(headers)
    assert with_key({"Authorization": "Other"}, "secret-key")["Authorization"] == "Other"
    assert len(headers) == 2


@pytest.mark.parametrize("value", ["secret\n", "secret\r\nX: y", "se\x00cret", "sécret", " secret"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(value: str) -> None:
    """Mostly a newline from a file."""
    with pytest.raises(SpecError) as raised:
        LLMInferenceHttpEndpoint("http://h/v1", api_key=value)
    assert "cret" not in str(raised.value)
    with pytest.raises(SpecError):
        Headers({"bad\nname": "x"})
