"""Where state may be: what is accepted, and what is refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from llm_deploy.errors import SpecError
from llm_deploy.gateway.state.config import URL_VARIABLE, StateConfig, resolved_url, sqlite_path


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.setenv("LLMDEPLOY_HOME", str(tmp_path))


def test_state_is_a_file_of_this_user_by_default(tmp_path: Path) -> None:
    """Beside what else this user's llmdeploy keeps."""
    assert sqlite_path(resolved_url(StateConfig())) == tmp_path / "gateway.db"


def test_what_is_written_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the environment over the default."""
    monkeypatch.setenv(URL_VARIABLE, "sqlite:////from/environment.db")
    assert sqlite_path(resolved_url(StateConfig())) == Path("/from/environment.db")
    assert sqlite_path(resolved_url(StateConfig(url="sqlite:////from/file.db"))) == Path("/from/file.db")


@pytest.mark.parametrize("head", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_postgresql_means_one_driver(head: str) -> None:
    """As hosting services write it, too."""
    assert resolved_url(StateConfig(url=f"{head}://u@h/d", replicas=3)) == "postgresql+psycopg://u@h/d"


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "sqlite://", "sqlite:///", "postgresql:", "nonsense", "", "postgresql://"]
)
def test_other_databases_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is expected; in the configuration and in the environment."""
    with pytest.raises(ValidationError, match="expected sqlite"):
        StateConfig(url=url)
    if url:
        monkeypatch.setenv(URL_VARIABLE, url)
        with pytest.raises(SpecError, match="LLMDEPLOY_STATE: expected sqlite"):
            resolved_url(StateConfig())


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@h/d", "postgresql://u@h/d?password=hunter2"])
def test_a_password_is_not_taken_from_where_others_read_it(url: str) -> None:
    """Files are shared and flags are in everybody's list of processes; the refusal does not repeat it."""
    with pytest.raises(ValidationError, match="leave the password out") as caught:
        StateConfig(url=url)
    assert "hunter2" not in str(caught.value)


def test_more_than_one_replica_needs_a_server() -> None:
    """A file has one writer; the sentence says what to do."""
    with pytest.raises(SpecError, match="2 replicas") as caught:
        resolved_url(StateConfig(replicas=2))
    assert "postgresql+psycopg" in str(caught.value.hint)
