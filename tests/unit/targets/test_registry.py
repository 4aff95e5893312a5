"""The door to a target: whose credentials a session takes."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from llm_deploy.client.environment import session_from_environment
from llm_deploy.errors import SpecError
from llm_deploy.settings import Settings
from llm_deploy.targets.registry import connect


def settings(key: str) -> Settings:
    """Settings with a key, its secret and a token."""
    return Settings(
        _env_file=None,
        LLMDEPLOY_TARGET="sagemaker",
        AWS_ACCESS_KEY=SecretStr(key),
        AWS_SECRET_KEY=SecretStr("secret"),
        AWS_SESSION_TOKEN=SecretStr("token"),
    )


@pytest.mark.parametrize(("key", "token"), [("ASIAX", "token"), ("AKIAX", None)])
def test_a_temporary_key_comes_with_its_token(key: str, token: str | None) -> None:
    """Keys of STS do not work without; lasting ones do not work with a stranger's."""
    session = connect(settings=settings(key)).session
    assert (session.access_key, session.secret_key, session.token) == (key, "secret", token)
    assert "secret" not in repr(session)


def test_a_client_takes_the_same_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who deploys with a temporary key also asks the model with it."""
    monkeypatch.delenv("LLMDEPLOY_TARGET", raising=False)
    for name, value in (("AWS_ACCESS_KEY", "ASIAX"), ("AWS_SECRET_KEY", "s"), ("AWS_SESSION_TOKEN", "t")):
        monkeypatch.setenv(name, value)
    session = session_from_environment()
    assert (session.access_key, session.secret_key, session.token) == ("ASIAX", "s", "t")


def test_an_unknown_target_is_named() -> None:
    """With those that exist."""
    with pytest.raises(SpecError, match="unknown target 'azure'; known: sagemaker, local"):
        connect("azure", settings=settings("AKIAX"))
