"""The error tree: one exit code a kind, documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llm_deploy import errors

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "exit-codes.md"


def kinds(parent: type[errors.LlmDeployError] = errors.LlmDeployError) -> Iterator[type[errors.LlmDeployError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from kinds(child)


def test_every_kind_has_its_own_exit_code() -> None:
    """Scripts tell kinds apart by exit code; only a subclass without a code of its own shares its parent's."""
    own = [kind.exit_code for kind in kinds() if "exit_code" in vars(kind)]
    assert len(own) == len(set(own))
    assert all(0 < code < 64 for code in own)


def test_every_exit_code_is_documented() -> None:
    """The reference names each code with its kind."""
    text = DOCUMENT.read_text("utf-8")
    for kind in kinds():
        assert f"| {kind.exit_code} |" in text, kind.__name__
        assert f"`{kind.__name__}`" in text
