"""The cloud that these tests ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.emulator.iam.gatehouse import Gatehouse


@pytest.fixture
def gatehouse(tmp_path: Path) -> Gatehouse:
    """A fresh cloud."""
    return Gatehouse(tmp_path)
