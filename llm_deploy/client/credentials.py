"""Who signs: keys that stay, or botocore's credentials, which renew themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from llm_deploy.aws import Session
from llm_deploy.client.sagemaker_errors import translate
from llm_deploy.client.wire.signature import Keys


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
        self._frozen: object = None
        self._keys: Keys | None = None

    def keys(self) -> Keys:
        """See `Credentials.keys`."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415 - loaded by now

        try:
            if self._source is None:
                raise NoCredentialsError
            frozen = self._source.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise translate(error, self._action) from error
        keys = self._keys
        if keys is None or frozen != self._frozen:
            keys = Keys(frozen.access_key, frozen.secret_key, frozen.token)
            self._frozen, self._keys = frozen, keys
        return keys

    def renewal(self) -> Callable[[], object] | None:
        """See `Credentials.renewal`."""
        needed = getattr(self._source, "refresh_needed", None)
        return self.keys if needed is not None and needed() else None


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
