"""Rules of the cloud's memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_deploy.emulator.store import Store


def test_what_is_changed_outside_is_not_changed_inside() -> None:
    """A caller owns what it gets."""
    store = Store(None)
    store.put("kind", "a", {"list": [1]})
    found = store.get("kind", "a")
    assert found is not None
    found["list"].append(2)
    assert store.get("kind", "a") == {"list": [1]}


def test_a_transaction_that_fails_leaves_nothing() -> None:
    """All writes of it happen, or none; also of a nested one."""
    store = Store(None)

    def fail() -> None:
        with store.transaction():
            store.put("kind", "a", {})
            with store.transaction():
                store.put("kind", "b", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.all("kind") == []
    with store.transaction():
        store.put("kind", "c", {})
    assert store.count("kind") == 1


def test_names_with_wildcards_are_only_names() -> None:
    """A prefix is compared, not interpreted."""
    store = Store(None)
    for name in ("a%b", "axb", "a%c"):
        store.put("kind", name, {"name": name})
    assert [each["name"] for each in store.all("kind", prefix="a%")] == ["a%b", "a%c"]


def test_a_committed_document_survives_the_death_of_the_process(tmp_path: Path) -> None:
    """SIGKILL right after a write loses nothing."""
    file = tmp_path / "state.sqlite"
    code = (
        "import os, signal, sys; from pathlib import Path; from llm_deploy.emulator.store import Store\n"
        "store = Store(Path(sys.argv[1])); store.put('kind', 'a', {'n': 1}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, os.fspath(file)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert Store(file).get("kind", "a") == {"n": 1}
