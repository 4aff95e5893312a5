"""`llmdeploy gateway keys` finds the state that its gateway has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from llm_deploy.cli.gateway import app

if TYPE_CHECKING:
    import pytest


def test_keys_are_made_where_the_gateways_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in another database than the gateway's would be refused; --state says otherwise, if it is given."""
    monkeypatch.setenv("LLMDEPLOY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMDEPLOY_STATE", f"sqlite:///{tmp_path}/elsewhere.db")
    file = tmp_path / "gateway.yaml"
    file.write_text(f"state: {{url: 'sqlite:///{tmp_path}/own.db'}}\n")
    run = CliRunner().invoke
    assert run(app, ["migrate", "--config", str(file)]).exit_code == 0
    assert run(app, ["keys", "create", "shop", "--config", str(file)]).exit_code == 0
    assert "shop" in run(app, ["keys", "list", "--config", str(file)]).output
    assert (tmp_path / "own.db").exists()
    assert not (tmp_path / "elsewhere.db").exists()
    other = f"sqlite:///{tmp_path}/other.db"
    assert run(app, ["keys", "create", "shop", "--config", str(file), "--state", other]).exit_code == 0
    assert (tmp_path / "other.db").exists()
