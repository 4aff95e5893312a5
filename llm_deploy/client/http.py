"""The transport over plain HTTP: `llmdeploy serve`, TGI, vLLM or any container of ours, without AWS."""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.client.courier import Courier
from llm_deploy.client.http_peer import HttpPeer
from llm_deploy.client.patience import Patience
from llm_deploy.client.transport import OpenStream


class HttpTransport:
    """Posts to one URL, for example `http://127.0.0.1:8080/invocations`. See `Transport`.

    Redirects are not followed, and no proxy is asked: the headers may carry a key.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        peer = HttpPeer(url, headers=headers, answer_timeout_s=answer_timeout_s)
        self._courier = Courier(peer, answer_timeout_s=answer_timeout_s, patience=patience or Patience())

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        return self._courier.call(body)

    def stream(self, body: bytes) -> OpenStream:
        """See `Transport.stream`."""
        return self._courier.stream(body)

    def close(self) -> None:
        """Close the idle connections; harmless when called again."""
        self._courier.close()
