"""Who signs: keys that stay, or botocore's credentials, which renew themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from llm_deploy.aws import Session
from llm_deploy.client.sagemaker_errors import translate
from llm_deploy.client.wire.signature import Keys
from llm_deploy.errors import CredentialsError

_HURRY_S = 600
"""Before their end, from when on credentials must be new ones. Source: botocore, `RefreshableCredentials`."""

_REST_S = 10.0
_REST_IN_A_HURRY_S = 1.0


class Credentials(Protocol):
    """Where the keys of each request come from. Safe to use from several threads at once."""

    def keys(self) -> Keys:
        """The keys of now: the same object while they are the same. May block where `renewal` gives something.

        Raises:
            LlmDeployError: There are none, or they cannot be renewed.
        """

    def renewal(self) -> Callable[[], object] | None:
        """What would block in `keys`; `None` while nothing would."""


class StaticCredentials:
    """Keys that stay as they are."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def keys(self) -> Keys:
        """See `Credentials.keys`."""
        return self._keys

    def renewal(self) -> None:
        """See `Credentials.renewal`."""


class BotocoreCredentials:
    """botocore's: of a profile, an instance's or a container's role, SSO, an assumed role, a program.

    Args:
        source: What botocore's `Session.get_credentials` gave.
        action: What is tried with them, for messages.
    """

    def __init__(self, source: Any, action: str) -> None:  # noqa: ANN401 - botocore ships no types
        self._source = source
        self._action = action
        self._held: tuple[object, Keys] | None = None
        self._rests_until_s = 0.0

    def keys(self) -> Keys:
        """See `Credentials.keys`."""
        held = self._held
        if held is not None and self._rests():
            return held[1]
        return self._asked()

    def renewal(self) -> Callable[[], object] | None:
        """See `Credentials.renewal`."""
        needed = getattr(self._source, "refresh_needed", None)
        return self._renew if needed is not None and not self._rests() and needed() else None

    def _renew(self) -> None:
        """Ask, so that `keys` right after it need not, which may be on an event loop.

        botocore asks for each request from 15 minutes before the end on, until there are new ones; in the first five of
        these it hides that asking failed. An instance's or a container's are the same ones for most of that time.
        """
        self._asked()
        hurry = self._source.refresh_needed(_HURRY_S)
        self._rests_until_s = time.monotonic() + (_REST_IN_A_HURRY_S if hurry else _REST_S)

    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until_s

    def _asked(self) -> Keys:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415 - loaded by now

        try:
            if self._source is None:
                raise NoCredentialsError
            frozen = self._source.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise translate(error, self._action) from error
        except RuntimeError as error:  # botocore's word for new ones that have run out too
            raise CredentialsError(f"cannot {self._action}: {error}") from error
        held = self._held
        if held is None or frozen != held[0]:
            held = self._held = (frozen, Keys(frozen.access_key, frozen.secret_key, frozen.token))
        return held[1]


def credentials_of(session: Any, action: str) -> Credentials:  # noqa: ANN401 - ours or boto3's, which ships no types
    """The credentials of a session; without botocore where they stand in the session or in the environment."""
    if not isinstance(session, Session):
        return BotocoreCredentials(_found(session.get_credentials, action), action)
    if session.role_arn is None:
        if session.access_key is not None and session.secret_key is not None:
            return StaticCredentials(Keys(session.access_key, session.secret_key, session.token))
        keys = None if session.profile is not None else _keys_of_environment()
        if keys is not None:
            return StaticCredentials(keys)
    return BotocoreCredentials(_found(session.credentials, action), action)


def _keys_of_environment() -> Keys | None:
    """What botocore takes from the environment, before all else, where no profile is named.

    Source: botocore 1.44, `credentials.EnvProvider`; keys with an expiration are left to it.
    """
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret or os.environ.get("AWS_CREDENTIAL_EXPIRATION"):
        return None
    token = os.environ.get("AWS_SECURITY_TOKEN") or os.environ.get("AWS_SESSION_TOKEN")
    return Keys(access, secret, token or None)


def _found(find: Callable[[], Any], action: str) -> Any:  # noqa: ANN401 - as above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - finding them loads it anyway

    try:
        return find()
    except (BotoCoreError, ClientError) as error:
        raise translate(error, action) from error
