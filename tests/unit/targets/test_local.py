"""Where the local cloud is, and whom to believe about it; without starting one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.errors import LocalCloudError
from llm_deploy.targets.local import LocalCloud, default_state_dir

ANNOUNCEMENT: dict[str, Any] = {
    "pid": os.getpid(),
    "port": 9,
    "url": "http://127.0.0.1:9",
    "region": "eu-central-1",
    "account": "000000000000",
    "speed": 60.0,
    "started_at": "2026-11-22T00:00:00+00:00",
    "version": "0.1.0",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LLMDEPLOY_HOME": "/elsewhere"}, "/elsewhere"),
        ({"LLMDEPLOY_HOME": "~/mine"}, "/home/me/mine"),
        ({"XDG_DATA_HOME": "/data"}, "/data/llmdeploy/local"),
        ({"XDG_DATA_HOME": "relative"}, "/home/me/.local/share/llmdeploy/local"),
        ({}, "/home/me/.local/share/llmdeploy/local"),
    ],
)
def test_where_state_is(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLMDEPLOY_HOME, else the XDG data folder, whose relative values the specification says to ignore."""
    for name in ("LLMDEPLOY_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_state_dir() == Path(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps(ANNOUNCEMENT),
        json.dumps(ANNOUNCEMENT | {"more": 1}),
        json.dumps({name: value for name, value in ANNOUNCEMENT.items() if name != "url"}),
    ],
)
def test_a_file_alone_is_not_believed(tmp_path: Path, text: str) -> None:
    """Damaged, of another version, or left by a cloud that was killed: nothing runs, and nothing is killed for it."""
    (tmp_path / "cloud.json").write_text(text)
    (tmp_path / "cloud.lock").write_text("")
    cloud = LocalCloud(tmp_path)
    assert cloud.status() is None
    assert cloud.stop() is False
    with pytest.raises(LocalCloudError, match="is not running"):
        cloud.environment()


def test_asking_makes_nothing(tmp_path: Path) -> None:
    """Status and stop of a cloud that never was leave no folder behind."""
    cloud = LocalCloud(tmp_path / "never")
    assert cloud.status() is None
    assert cloud.stop() is False
    assert not (tmp_path / "never").exists()
