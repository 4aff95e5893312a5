"""The cloud that these tests ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.emulator_services.wire import Wire, new_wire


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A fresh cloud in memory."""
    made = new_wire(tmp_path)
    yield made
    made.cloud.store.close()
