"""A gateway without a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_deploy.gateway import found
from llm_deploy.rag.config import RagConfig

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_documents_are_served_once_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/rag is there where the default collection is, and loads nothing where it is not."""
    monkeypatch.setenv("LLMDEPLOY_HOME", str(tmp_path))
    assert found._ingested() is None
    config = RagConfig()
    (config.store.folder() / config.collection).mkdir(parents=True)
    assert found._ingested() == config
