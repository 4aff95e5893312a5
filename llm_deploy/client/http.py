"""The transport over plain HTTP: `llmdeploy serve`, TGI, vLLM or any container of ours, without AWS."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from llm_deploy.client.patience import Patience
from llm_deploy.client.transport import (
    CONNECT_TIMEOUT_S,
    KEEP_ALIVE_IDLE_S,
    MAX_BODY_BYTES,
    POOL_SIZE,
    READ_TIMEOUT_S,
    OpenStream,
)
from llm_deploy.client.watch import Watch
from llm_deploy.dialects.failures import model_error
from llm_deploy.errors import (
    CloudError,
    InferenceError,
    InferenceTimeoutError,
    SpecError,
    StreamBrokenError,
    UnreachableError,
    WireFormatError,
)

_READ_BYTES = 64 * 1024
_SUCCESS = 2  # of 2xx; a redirect is none
_MAX_ERROR_BYTES = 256 * 1024


class HttpTransport:
    """Posts to one URL, for example `http://127.0.0.1:8080/invocations`. See `Transport`.

    Redirects are not followed: the headers may carry a key.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise SpecError("not an HTTP address", hint="For example http://127.0.0.1:8080/invocations.")
        self._url = url
        self._action = f"call {url}"
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._answer_timeout_s = answer_timeout_s
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._made_pool: Any = None

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        return self._patience.repeat(lambda: self._call(body))

    def stream(self, body: bytes) -> OpenStream:
        """See `Transport.stream`."""
        return self._patience.repeat(lambda: self._open(body))

    def close(self) -> None:
        """See `Transport.close`."""
        with self._lock:
            pool, self._made_pool = self._made_pool, None
        if pool is not None:
            pool.clear()

    def _call(self, body: bytes) -> bytes:
        opened = self._open(body)
        try:
            return b"".join(_bounded(opened.parts))
        except StreamBrokenError as error:
            raise InferenceError(error.message, hint=error.hint) from error
        finally:
            opened.close()

    def _open(self, body: bytes) -> OpenStream:
        started_s = self._patience.clock()
        response = self._send(body)
        watch = self._watch(response, started_s)
        parts = self._parts(response, watch)
        if response.status // 100 != _SUCCESS:
            text = _error_text(parts)
            watch.disarm()
            response.close()
            raise model_error(text, status=response.status, where=f"cannot {self._action}: the server")

        def close() -> None:
            watch.disarm()
            response.close()

        return OpenStream(parts, close)

    def _send(self, body: bytes) -> Any:  # noqa: ANN401 - urllib3's response; its import is left to the first call
        from urllib3 import exceptions  # noqa: PLC0415 - 70 ms that only a call needs

        try:
            return self._pool().request("POST", self._url, body=body, headers=self._headers, preload_content=False)
        except (exceptions.NewConnectionError, exceptions.ConnectTimeoutError, exceptions.LocationParseError) as error:
            raise UnreachableError(
                f"cannot {self._action}: no connection ({error})", hint="Is the server running there?"
            ) from error
        except exceptions.TimeoutError as error:
            raise self._timeout() from error
        except (exceptions.SSLError, exceptions.ProxyError) as error:
            raise CloudError(f"cannot {self._action}: {error}", hint="Check certificates and any proxy.") from error
        except exceptions.HTTPError as error:
            raise InferenceError(
                f"cannot {self._action}: the connection broke before an answer ({error})",
                hint="The model may have worked on it, so it was not asked again by itself.",
            ) from error

    def _parts(self, response: Any, watch: Watch) -> Iterator[bytes]:  # noqa: ANN401 - as above
        from urllib3.exceptions import HTTPError, TimeoutError as Urllib3TimeoutError  # noqa: PLC0415 - as above

        try:
            while part := response.read1(_READ_BYTES):
                yield part
        except Urllib3TimeoutError as error:
            raise self._timeout() from error
        except (HTTPError, OSError) as error:
            if watch.fired:
                raise self._timeout() from error
            raise StreamBrokenError(f"{self._action}: the connection broke in the middle of the answer") from error
        finally:
            watch.disarm()
        if watch.fired:  # a connection that is shut may look like one that ended
            raise self._timeout()

    def _watch(self, response: Any, started_s: float) -> Watch:  # noqa: ANN401 - as above
        allowed_s = self._answer_timeout_s
        left_s = None if allowed_s is None else allowed_s - (self._patience.clock() - started_s)
        return Watch(left_s, lambda: _shut(response))

    def _timeout(self) -> InferenceError:
        allowed_s = self._answer_timeout_s or READ_TIMEOUT_S
        return InferenceTimeoutError(
            f"{self._action}: no whole answer in the {allowed_s:g} s allowed",
            hint="Stream the answer, ask for fewer new tokens, or allow more time.",
        )

    def _pool(self) -> Any:  # noqa: ANN401 - as above
        with self._lock:
            if self._made_pool is None:
                self._made_pool = _new_pool(min(READ_TIMEOUT_S, self._answer_timeout_s or READ_TIMEOUT_S))
            return self._made_pool


def _new_pool(read_timeout_s: float) -> Any:  # noqa: ANN401 - as above
    import urllib3  # noqa: PLC0415 - as above
    from urllib3.connection import HTTPConnection  # noqa: PLC0415 - as above

    return urllib3.PoolManager(
        num_pools=1,
        maxsize=POOL_SIZE,
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s),
        socket_options=[*HTTPConnection.default_socket_options, *_keep_alive()],
    )


def _keep_alive() -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux; macOS and Windows keep their own interval
        options.append((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_IDLE_S))
    return options


def _bounded(parts: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise WireFormatError(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        yield part


def _error_text(parts: Iterator[bytes]) -> str:
    """What a server says with an error status; as much as arrives, since the status is known already."""
    body = b""
    with contextlib.suppress(InferenceError):
        for part in parts:
            body += part
            if len(body) > _MAX_ERROR_BYTES:
                break
    return body.decode("utf-8", errors="replace")


def _shut(response: Any) -> None:  # noqa: ANN401 - as above
    with contextlib.suppress(RuntimeError, ValueError, OSError):  # it ended by itself in this very moment
        response.shutdown()
