"""boto3 clients as calls of a model need them: short tempers, kept connections, nothing repeated behind our back."""

from __future__ import annotations

import threading
from typing import Any

from llm_deploy.aws import Session, aws_errors
from llm_deploy.client.transport import CONNECT_TIMEOUT_S, POOL_SIZE, READ_TIMEOUT_S

_LOOKUP_CONNECT_TIMEOUT_S = 2.0
_LOOKUP_READ_TIMEOUT_S = 15.0
_LOOKUP_ATTEMPTS = 3
"""A private subnet may have a door to SageMaker's runtime and none to its control plane: looking up must then give up
before a caller does."""


_MAKING = threading.Lock()
"""boto3's clients may be used from many threads, but its sessions make them one at a time."""


def runtime_client(session: Any, *, read_timeout_s: float = READ_TIMEOUT_S) -> Any:  # noqa: ANN401 - boto3 has no types
    """A client of SageMaker's runtime that repeats nothing by itself.

    botocore's own retries are off: it repeats a request whose answer did not come in time, and the endpoint then
    generates the same text again, up to five times (botocore issue 1768).

    Args:
        session: An `llm_deploy.aws.Session` or a `boto3.Session`.
        read_timeout_s: Longest silence on a connection.
    """
    return _new_client(
        session,
        "sagemaker-runtime",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=POOL_SIZE,
        tcp_keepalive=True,
    )


def lookup_client(session: Any) -> Any:  # noqa: ANN401 - as above
    """A client of SageMaker's control plane for the look-ups before a first call."""
    return _new_client(
        session,
        "sagemaker",
        connect_timeout=_LOOKUP_CONNECT_TIMEOUT_S,
        read_timeout=_LOOKUP_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _LOOKUP_ATTEMPTS},
    )


def storage_client(session: Any) -> Any:  # noqa: ANN401 - as above
    """A client of S3 for the requests and answers of queues; reading is repeated, as writing one key is."""
    return _new_client(
        session,
        "s3",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _LOOKUP_ATTEMPTS},
        max_pool_connections=POOL_SIZE,
    )


def _new_client(session: Any, service: str, **options: Any) -> Any:  # noqa: ANN401 - as above; botocore's options
    with aws_errors(f"open {service}"):
        from botocore.config import Config  # noqa: PLC0415 - 150 ms that only a call needs

        config = Config(user_agent_extra="llm-deploy", **options)
        with _MAKING:
            if isinstance(session, Session):
                return session.new_client(service, config)
            return session.client(service, config=config)
