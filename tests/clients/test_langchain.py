"""langchain-aws: endpoints that llmdeploy deployed, as the language models of somebody's chain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.conftest import Runner, python_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("client-langchain")]


def test_it_asks_and_streams(foreign: Runner, twin: str) -> None:
    """Text and chat, whole and in pieces, are the same tokens of the model for the same seed."""
    seen: dict[str, Any] = python_program(foreign, "langchain-aws", "langchain_calls.py", twin)
    assert seen["text"].startswith(" Paris")
    assert len(seen["pieces"]) > 10
    assert "".join(seen["pieces"]) == seen["text"]
    assert seen["chat"]
    assert len(seen["chat_pieces"]) > 10
    assert "".join(seen["chat_pieces"]) == seen["chat"]
