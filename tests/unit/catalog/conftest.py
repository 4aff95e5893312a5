"""A clean environment, settings from a given .env, and specs from a given text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_deploy.settings import Settings, load_settings
from llm_deploy.spec import DeploymentSpec, LoadedSpec, load


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*Settings.model_fields, "AWS_DEFAULT_REGION"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def settings() -> Settings:
    return load_settings(None)


@pytest.fixture
def spec_from() -> Callable[..., DeploymentSpec]:
    def build(**fields: object) -> DeploymentSpec:
        return DeploymentSpec.model_validate({"name": "twin", "model": "owner/name", **fields})

    return build


@pytest.fixture
def load_text(tmp_path: Path, settings: Settings) -> Callable[..., LoadedSpec]:
    def build(text: str, **options: object) -> LoadedSpec:
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return load("spec.yaml", **{"settings": settings, **options})  # type: ignore[arg-type]

    return build
