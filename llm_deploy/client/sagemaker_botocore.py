"""The transport over SageMaker's runtime by way of botocore: the reference, and where the fast path would not be right.

botocore is loaded at the first call.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from llm_deploy.client.clients import runtime_client
from llm_deploy.client.patience import Patience
from llm_deploy.client.sagemaker_errors import TIMEOUT_HINT, translate, translate_mid_stream
from llm_deploy.client.transport import MAX_BODY_BYTES, READ_TIMEOUT_S, OpenStream
from llm_deploy.client.watch import Watch
from llm_deploy.errors import InferenceError, InferenceTimeoutError, WireFormatError

_READ_BYTES = 64 * 1024


class BotocoreTransport:
    """Calls one endpoint, or one inference component of it; `Patience` says what is repeated. See `Transport`."""

    def __init__(
        self,
        endpoint_name: str,
        *,
        session: Any,  # noqa: ANN401 - ours or boto3's; both make clients
        inference_component_name: str | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._action = f"call endpoint {endpoint_name}"
        self._target = {"EndpointName": endpoint_name, "ContentType": "application/json"}
        if inference_component_name:
            self._target["InferenceComponentName"] = inference_component_name
        self._session = session
        self._answer_timeout_s = answer_timeout_s
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._made_client: Any = None

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        return self._patience.repeat(lambda: self._call(body), within_s=self._answer_timeout_s)

    def stream(self, body: bytes) -> OpenStream:
        """See `Transport.stream`."""
        return self._patience.repeat(lambda: self._open(body), within_s=self._answer_timeout_s)

    def close(self) -> None:
        """Close the idle connections; harmless when called again."""
        with self._lock:
            client, self._made_client = self._made_client, None
        if client is not None:
            client.close()

    def _call(self, body: bytes) -> bytes:
        started_s = self._patience.clock()
        stream = self._send("invoke_endpoint", body)
        watch = self._watch(stream._raw_stream, started_s)  # noqa: SLF001 - botocore has no public way to shut it
        try:
            return _read_all(stream)
        except _stream_errors() as error:
            raise self._timeout() if watch.fired else translate(error, self._action) from error
        finally:
            watch.disarm()
            stream.close()

    def _open(self, body: bytes) -> OpenStream:
        started_s = self._patience.clock()
        events = self._send("invoke_endpoint_with_response_stream", body)
        raw = events._raw_stream  # noqa: SLF001 - as above
        watch = self._watch(raw, started_s)

        def close() -> None:
            watch.disarm()
            _shut(raw)  # a read in another thread would keep `close` waiting
            events.close()

        return OpenStream(self._parts(events, watch), close)

    def _send(self, operation: str, body: bytes) -> Any:  # noqa: ANN401 - botocore ships no types
        client = self._client()
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with the client

        try:
            return getattr(client, operation)(Body=body, **self._target)["Body"]
        except (BotoCoreError, ClientError) as error:
            raise translate(error, self._action) from error

    def _parts(self, events: Any, watch: Watch) -> Iterator[bytes]:  # noqa: ANN401 - as above
        try:
            for event in events:
                part = event.get("PayloadPart", {}).get("Bytes")
                if part:
                    yield part
        except _stream_errors() as error:
            raise self._timeout() if watch.fired else translate_mid_stream(error, self._action) from error
        finally:
            watch.disarm()
        if watch.fired:  # a connection that is shut may look like one that ended
            raise self._timeout()

    def _watch(self, raw: Any, started_s: float) -> Watch:  # noqa: ANN401 - as above
        allowed_s = self._answer_timeout_s
        left_s = None if allowed_s is None else allowed_s - (self._patience.clock() - started_s)
        return Watch(left_s, lambda: _shut(raw))

    def _timeout(self) -> InferenceError:
        return InferenceTimeoutError(
            f"{self._action}: the answer was not whole after {self._answer_timeout_s:g} s", hint=TIMEOUT_HINT
        )

    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        with self._lock:
            if self._made_client is None:
                self._made_client = runtime_client(self._session, read_timeout_s=self._read_timeout_s())
            return self._made_client

    def _read_timeout_s(self) -> float:
        return min(READ_TIMEOUT_S, self._answer_timeout_s or READ_TIMEOUT_S)


def _read_all(stream: Any) -> bytes:  # noqa: ANN401 - botocore ships no types
    parts: list[bytes] = []
    size = 0
    while part := stream.read(_READ_BYTES):
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise WireFormatError(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _shut(raw: Any) -> None:  # noqa: ANN401 - urllib3's response
    with contextlib.suppress(RuntimeError, ValueError, OSError):  # it ended by itself in this very moment
        raw.shutdown()


def _stream_errors() -> tuple[type[Exception], ...]:
    """What reading a body can raise: botocore's, its frame parser's, and urllib3's, which botocore lets through."""
    from botocore.eventstream import ParserError  # noqa: PLC0415 - loaded by now
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

    return (ClientError, BotoCoreError, ParserError, HTTPError, OSError)
