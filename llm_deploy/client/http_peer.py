"""A model behind a plain HTTP address as a peer."""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.client.addresses import without_query
from llm_deploy.client.headers import Headers
from llm_deploy.client.origin import split_url
from llm_deploy.client.peer import Words
from llm_deploy.client.wire.eventstream import Fault
from llm_deploy.client.wire.http1 import Response
from llm_deploy.client.wire.signature import check_request
from llm_deploy.dialects.failures import model_error
from llm_deploy.errors import InferenceError, InferenceRequestError, LlmDeployError, StreamBrokenError

_TIMEOUT_HINT = "Stream the answer, ask for fewer new tokens, or allow more time."
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class HttpPeer:
    """One address, for example `http://127.0.0.1:8080/invocations`. See `Peer`.

    Redirects are not followed: the headers may carry a key.

    Raises:
        SpecError: The address or a header is none.
    """

    framed = False

    def __init__(self, url: str, *, headers: Mapping[str, str] | None, answer_timeout_s: float | None) -> None:
        self.origin, path = split_url(url)
        self.words = Words(
            f"call {without_query(url)}", answer_timeout_s, "Is the server running there?", _TIMEOUT_HINT
        )
        ours = {
            "Host": self.origin.host_header,
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "llm-deploy",
        }
        all_headers = Headers(ours, headers or {})
        check_request(path, all_headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
        self._head = f"POST {path} HTTP/1.1\r\n{lines}Content-Length: ".encode("latin-1")

    def delay(self) -> None:
        """See `Peer.delay`."""

    def head(self, body: bytes, *, streamed: bool) -> bytes:  # noqa: ARG002 - one address for both
        """See `Peer.head`."""
        return b"%b%d\r\n\r\n" % (self._head, len(body))

    def corrects(self, response: Response, body: bytes) -> bool:  # noqa: ARG002 - there is nothing to correct
        """See `Peer.corrects`."""
        return False

    def refusal(self, response: Response, body: bytes) -> LlmDeployError:
        """See `Peer.refusal`."""
        if response.status in _REDIRECTS:
            return _redirected(response, self.words.action)
        text = body.decode("utf-8", errors="replace")
        return model_error(text, status=response.status, where=f"cannot {self.words.action}: the server")

    def fault(self, fault: Fault) -> InferenceError:
        """See `Peer.fault`."""
        return StreamBrokenError(f"{self.words.action}: {fault.message}")


def _redirected(response: Response, action: str) -> LlmDeployError:
    where = response.headers.get(b"location", b"").decode("latin-1")
    to = f" to {without_query(where)}" if where.isprintable() and where else ""
    return InferenceRequestError(
        f"cannot {action}: the server sends its callers on{to} (HTTP {response.status})",
        hint="Use that address: redirects are not followed, since the request may carry a key.",
    )
