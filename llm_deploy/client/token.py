"""The transport over SageMaker's OpenAI-compatible path: plain HTTP with a token that is renewed in time."""

from __future__ import annotations

import threading

from llm_deploy.client.bearer import BearerToken, Renewed
from llm_deploy.client.headers import with_key
from llm_deploy.client.http import HttpTransport
from llm_deploy.client.target import Allowed
from llm_deploy.client.transport import OpenStream


class TokenTransport:
    """See `Transport`. A new token takes new connections; calls under way keep theirs."""

    def __init__(self, url: str, tokens: Renewed, allowed: Allowed) -> None:
        self._url = url
        self._tokens = tokens
        self._allowed = allowed
        self._lock = threading.Lock()
        self._made: tuple[BearerToken, HttpTransport] | None = None

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        return self._transport().call(body)

    def stream(self, body: bytes) -> OpenStream:
        """See `Transport.stream`."""
        return self._transport().stream(body)

    def close(self) -> None:
        """See `Transport.close`."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made[1].close()

    def _transport(self) -> HttpTransport:
        token = self._tokens.current()
        with self._lock:
            if self._made is None or self._made[0] is not token:
                transport = HttpTransport(
                    self._url,
                    headers=with_key(None, token.value),
                    answer_timeout_s=self._allowed.answer_timeout_s,
                    patience=self._allowed.patience,
                )
                self._made = (token, transport)
            return self._made[1]
