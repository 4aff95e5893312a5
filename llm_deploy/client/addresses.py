"""From the address of a model to the addresses of what it does."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from llm_deploy.dialects.embeddings import Shape
from llm_deploy.errors import SpecError


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one model is asked for what.

    Attributes:
        prompt_stream: Where answers to prompts are streamed from; TGI's own path has a second one for it.
        dialect: What the addresses speak, if they tell.
        shapes: In which shapes vectors may be asked for.
    """

    prompts: str
    prompt_stream: str
    chats: str
    embeddings: str
    dialect: str
    shapes: tuple[Shape, ...]


def addresses(url: str, dialect: str) -> Addresses:
    """The addresses of a model.

    Args:
        url: A base (`http://host:8000/v1`, or the host alone), or a whole address (`.../invocations`, `/generate`,
            `/embed`, `/v1/chat/completions`, ...), from which the others follow.
        dialect: What it speaks; `auto`: what the address tells.

    Raises:
        SpecError: No HTTP address.
    """
    parts = _parts(url)
    path = parts.path.rstrip("/")
    if path.endswith("/v1") or (not path and dialect in {"auto", "openai", "openai-chat"}):
        return _openai(parts, path or "/v1", dialect)
    for end in ("/chat/completions", "/completions", "/embeddings"):
        if path.endswith(end):
            given = "openai-chat" if end == "/chat/completions" and dialect == "auto" else dialect
            return _openai(parts, path.removesuffix(end), given)
    for end in ("/generate", "/generate_stream", "/embed"):
        if path.endswith(end):
            return _tgi(parts, path.removesuffix(end))
    whole = urlunsplit(parts)
    shapes: tuple[Shape, ...] = ("openai", "tei") if dialect.startswith("openai") else ("tei", "openai")
    return Addresses(whole, whole, whole, whole, dialect, shapes)


def without_login(url: str) -> tuple[str, Mapping[str, str]]:
    """The address without user and password, which errors would show, and the header that says them."""
    parts = _parts(url)
    if parts.username is None:
        return url, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(bare), {"Authorization": f"Basic {base64.b64encode(login).decode()}"}


def without_query(url: str) -> str:
    """The address as it may be shown: some servers take keys in the query."""
    return url.partition("?")[0]


def is_url(text: str) -> bool:
    """Whether this is an HTTP address, rather than an endpoint's name."""
    return text.startswith(("http://", "https://"))


def _openai(parts: SplitResult, base: str, dialect: str) -> Addresses:
    def at(path: str) -> str:
        return urlunsplit(parts._replace(path=base + path))

    chats = at("/chat/completions")
    prompts = chats if dialect == "openai-chat" else at("/completions")
    spoken = "openai" if dialect == "auto" else dialect
    return Addresses(prompts, prompts, chats, at("/embeddings"), spoken, ("openai",))


def _tgi(parts: SplitResult, base: str) -> Addresses:
    def at(path: str) -> str:
        return urlunsplit(parts._replace(path=base + path))

    return Addresses(at("/generate"), at("/generate_stream"), at("/v1/chat/completions"), at("/embed"), "tgi", ("tei",))


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise SpecError("not an HTTP address", hint="For example http://127.0.0.1:8080/invocations.")
    return parts
