"""Lists in pages, with tokens that go on after the last item seen even when items have been added or removed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from llm_deploy.emulator.service import ServiceError

Item = TypeVar("Item")


def page(
    items: Sequence[Item], key: Callable[[Item], str], *, limit: int, token: str | None, error_code: str
) -> tuple[list[Item], str | None]:
    """One page of the items in the order of their keys, and the token of the next page if there is one.

    `error_code` is what the service calls a token that is none.

    Raises:
        ServiceError: The token was not made here.
    """
    after = None if token is None else _decode(token, error_code)
    rest = sorted((item for item in items if after is None or key(item) > after), key=key)
    shown = rest[:limit]
    return shown, _encode(key(shown[-1])) if len(rest) > limit else None


def _encode(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _decode(token: str, error_code: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ServiceError(error_code, "The token is not valid.") from error
