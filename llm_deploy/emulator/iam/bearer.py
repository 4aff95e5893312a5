"""The bearer token of SageMaker's OpenAI path: a presigned request that is never sent, in base64.

Source: sagemaker-core 2.27, `token_generator` (how it is made); SageMaker developer guide, "Invoke endpoints with
OpenAI-compatible APIs". Ledger: `access.bearer`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import parse_qsl

from llm_deploy.emulator.iam.signature import (
    EMPTY_SHA256,
    MalformedSignatureError,
    Signature,
    Signed,
    read_signature,
)

PREFIX = "sagemaker-api-key-"
HOST = "sagemaker.amazonaws.com"
ACTION = "CallWithBearerToken"
MAX_VALID_S = 12 * 3600
_SCHEME = "Bearer "
_VERSION = "&Version=1"
_SERVICE = "sagemaker"


@dataclass(frozen=True, slots=True)
class Token:
    """What a token holds: a signature, and what it was made of."""

    signature: Signature
    signed: Signed


def read_token(authorization: str) -> Token | None:
    """The token of an Authorization header; `None` when it has none of this kind.

    Raises:
        MalformedSignatureError: It has one that cannot be read, or that is for something else.
    """
    scheme, given = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :].strip()
    if scheme.lower() != _SCHEME.lower() or not given.startswith(PREFIX):
        return None
    try:
        url = base64.b64decode(given.removeprefix(PREFIX), validate=True).decode("ascii")
    except ValueError as error:
        raise MalformedSignatureError("The bearer token is no base64 text.") from error
    host, _, query = url.removesuffix(_VERSION).partition("/?")
    signature = read_signature(query, ()) if url.endswith(_VERSION) else None
    if host != HOST or signature is None or dict(parse_qsl(query)).get("Action") != ACTION:
        raise MalformedSignatureError("The bearer token is no presigned CallWithBearerToken request.")
    _check_scope(signature)
    return Token(signature, Signed("POST", "/", query, ((b"host", HOST.encode()),), EMPTY_SHA256))


def _check_scope(signature: Signature) -> None:
    if signature.service != _SERVICE:
        raise MalformedSignatureError(f"Credential should be scoped to correct service: '{_SERVICE}'.")
    if signature.valid_s is None or not 0 < signature.valid_s <= MAX_VALID_S:
        raise MalformedSignatureError(f"X-Amz-Expires must be at most {MAX_VALID_S} seconds.")
