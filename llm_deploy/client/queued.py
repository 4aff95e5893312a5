"""SageMaker's asynchronous endpoints: a request is put into the endpoint's queue, and its answer is found in S3.

A queue takes what a live endpoint would time out on: 1 GB in, an hour of work, and an endpoint that is scaled to zero.

Source: API reference of InvokeEndpointAsync; SageMaker developer guide, "Asynchronous inference".
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from llm_deploy.aws import aws_errors
from llm_deploy.client.clients import runtime_client, storage_client
from llm_deploy.client.patience import Patience
from llm_deploy.client.sagemaker_errors import translate
from llm_deploy.client.transport import MAX_BODY_BYTES, OpenStream
from llm_deploy.dialects.failures import model_error
from llm_deploy.errors import (
    AccessDeniedError,
    InferenceRequestError,
    InferenceTimeoutError,
    LlmDeployError,
    SpecError,
    WireFormatError,
)

MAX_INLINE_BYTES = 128_000
"""Largest body that InvokeEndpointAsync takes itself; what is larger goes through S3."""

_LONGEST_WORK_S = 3600
_LONGEST_WAIT_S = 21_600
_SHORTEST_WAIT_S = 60
"""Bounds of InvocationTimeoutSeconds and RequestTTLSeconds."""

_FIRST_LOOK_S = 0.2
_LOOKS_GROW_BY = 1.5
_LONGEST_PAUSE_S = 5.0

READ_HINT = "Reading answers needs s3:GetObject, and s3:ListBucket to tell a missing one, where the endpoint puts them."


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request in a queue: where its answer will be. It can be kept, and used by another process.

    Attributes:
        output_location, failure_location: `s3://` addresses.
        input_location: Where we put the request, if it was too large to be sent.
    """

    inference_id: str
    output_location: str
    failure_location: str | None = None
    input_location: str | None = None

    def to_json(self) -> str:
        """As text, for a file or a queue of one's own."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote.

        Raises:
            SpecError: It is something else.
        """
        try:
            ticket = cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise SpecError("this is no ticket of a queued request") from error
        if not isinstance(ticket.inference_id, str):
            raise SpecError("this is no ticket of a queued request")
        for location in (ticket.output_location, ticket.failure_location, ticket.input_location):
            if location is not None:
                place_of(location)
        return ticket


class QueuedTransport:
    """Puts requests into one endpoint's queue and waits for their answers. See `Transport`.

    Args:
        input_prefix: `s3://` address under which requests above 128 kB are put; removed when they are answered.
    """

    def __init__(
        self,
        endpoint_name: str,
        *,
        session: Any,  # noqa: ANN401 - ours or boto3's
        input_prefix: str | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self._name = endpoint_name
        self._action = f"queue a request at endpoint {endpoint_name}"
        self._session = session
        self._input_prefix = input_prefix
        self._timeout_s = answer_timeout_s
        self._lock = threading.Lock()
        self._made_clients: tuple[Any, Any] | None = None

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        ticket = self.submit(body)
        for pause_s in self.pauses():
            answer = self.look(ticket)
            if answer is not None:
                return answer
            self.patience.sleep(pause_s)
        raise self.timeout(ticket)

    def stream(self, body: bytes) -> OpenStream:
        """Refused: answers of a queue come whole."""
        raise whole_only(body)

    def submit(self, body: bytes) -> Ticket:
        """Put a request into the queue; returns when SageMaker has it."""
        name = str(uuid.uuid4())
        location = None if len(body) <= MAX_INLINE_BYTES else self._uploaded(body, name)
        given = {"Body": body} if location is None else {"InputLocation": location}
        answer = self.patience.repeat(lambda: self._invoke(name, given))
        return Ticket(answer["InferenceId"], answer["OutputLocation"], answer.get("FailureLocation"), location)

    def look(self, ticket: Ticket) -> bytes | None:
        """The answer, if it is there by now.

        Raises:
            InferenceError: The endpoint could not answer.
            AccessDeniedError: The places of answers may not be read.
        """
        answer = self._read(ticket.output_location)
        if answer is not None:
            self._tidy(ticket)
            return answer
        failure = self._read(ticket.failure_location) if ticket.failure_location else None
        if failure is None:
            return None
        self._tidy(ticket)
        text = failure.decode("utf-8", errors="replace")
        raise model_error(text, where=f"cannot get an answer of endpoint {self._name}: the model server")

    def pauses(self) -> Iterator[float]:
        """Seconds to wait between two looks, growing, until the time allowed is over."""
        deadline_s = self.patience.clock() + (self._timeout_s or _LONGEST_WAIT_S + _LONGEST_WORK_S)
        pause_s = _FIRST_LOOK_S
        while (left_s := deadline_s - self.patience.clock()) > 0:
            yield min(pause_s, left_s)
            pause_s = min(pause_s * _LOOKS_GROW_BY, _LONGEST_PAUSE_S)

    def timeout(self, ticket: Ticket) -> LlmDeployError:
        """The time allowed is over; where the answer will be, if it still comes, is said."""
        hint = f"If it still does, the answer will be at {ticket.output_location}."
        if ticket.failure_location is None:
            hint += " That it failed would not be seen: its endpoint config names no S3FailurePath."
        return InferenceTimeoutError(f"endpoint {self._name} had not answered in the time allowed", hint=hint)

    def close(self) -> None:
        """See `Transport.close`."""
        with self._lock:
            clients, self._made_clients = self._made_clients, None
        for client in clients or ():
            client.close()

    def _invoke(self, name: str, given: dict[str, Any]) -> Any:  # noqa: ANN401 - botocore ships no types
        runtime, _ = self._clients()
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with the client

        try:
            return runtime.invoke_endpoint_async(
                EndpointName=self._name, ContentType="application/json", InferenceId=name, **given, **self._limits()
            )
        except (BotoCoreError, ClientError) as error:
            raise translate(error, self._action) from error

    def _limits(self) -> dict[str, int]:
        """Nobody waits longer than the time allowed, so that nothing is to be worked on afterwards."""
        if self._timeout_s is None:
            return {}
        seconds = math.ceil(self._timeout_s)
        return {
            "InvocationTimeoutSeconds": min(max(seconds, 1), _LONGEST_WORK_S),
            "RequestTTLSeconds": min(max(seconds, _SHORTEST_WAIT_S), _LONGEST_WAIT_S),
        }

    def _uploaded(self, body: bytes, name: str) -> str:
        if self._input_prefix is None:
            raise InferenceRequestError(
                f"a request of {len(body)} bytes goes through S3, and no place for it is known",
                hint="Its endpoint's description names one, if it may be read; or ask for less at once.",
            )
        location = f"{self._input_prefix.rstrip('/')}/{name}.json"
        bucket, key = place_of(location)
        _, storage = self._clients()
        with aws_errors(f"put a request at {location}"):
            storage.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
        return location

    def _read(self, location: str) -> bytes | None:
        bucket, key = place_of(location)
        _, storage = self._clients()
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with the client

        try:
            found = storage.get_object(Bucket=bucket, Key=key)["Body"]
            with contextlib.closing(found):
                data: bytes = found.read(MAX_BODY_BYTES + 1)
        except (BotoCoreError, ClientError) as error:
            if _code(error) in {"NoSuchKey", "404"}:
                return None
            raise _unreadable(error, location) from error
        if len(data) > MAX_BODY_BYTES:
            raise WireFormatError(f"the answer at {location} is larger than {MAX_BODY_BYTES} bytes")
        return data

    def _tidy(self, ticket: Ticket) -> None:
        """Remove the request that we had put into S3; that it may not be removed is no reason to lose an answer."""
        if ticket.input_location is None:
            return
        bucket, key = place_of(ticket.input_location)
        _, storage = self._clients()
        with contextlib.suppress(LlmDeployError), aws_errors(f"remove {ticket.input_location}"):
            storage.delete_object(Bucket=bucket, Key=key)

    def _clients(self) -> tuple[Any, Any]:
        with self._lock:
            if self._made_clients is None:
                self._made_clients = (runtime_client(self._session), storage_client(self._session))
            return self._made_clients


def whole_only(body: bytes) -> LlmDeployError:
    """Why a queue does not stream."""
    return InferenceRequestError(f"a queue's answers come whole ({len(body)} bytes were asked)", hint="Use generate.")


def place_of(location: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` address.

    Raises:
        SpecError: It is another address.
    """
    if not isinstance(location, str):  # of a ticket's JSON
        raise SpecError(f"not an address in S3: {location!r}")
    parts = urlsplit(location)
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
        raise SpecError(f"not an address in S3: {location!r}")
    return parts.netloc, location.removeprefix(f"s3://{parts.netloc}/")


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _unreadable(error: Exception, location: str) -> LlmDeployError:
    found = translate(error, f"read {location}")
    return AccessDeniedError(found.message, hint=READ_HINT) if isinstance(found, AccessDeniedError) else found
