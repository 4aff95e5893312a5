"""Files and bodies that are not what they should be."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from llm_deploy.errors import ModelFileError
from llm_deploy.serving.gguf import GgufFacts, read_facts
from llm_deploy.serving.shapes.asked import Limits, ShapeError
from llm_deploy.serving.shapes.lmi import LmiDialect
from llm_deploy.serving.shapes.openai import ChatDialect, CompletionDialect
from llm_deploy.serving.shapes.tgi import TgiDialect
from llm_deploy.serving.wire import parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["inputs", "parameters", "messages", "prompt", "stream", "temperature", "top_p", "top_k", "stop", "seed", "n",
     "max_tokens", "max_new_tokens", "grammar", "response_format", "logprobs", "truncate", "tools", "guided_json"]
)  # fmt: skip
BODIES = JSON | st.dictionaries(NAMES, JSON, max_size=6)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def head() -> bytes:
    strings = struct.pack("<I", 8)
    tokens = struct.pack("<IIQ", 9, 8, 2) + text("a") + text("<end>")
    types = struct.pack("<IIQ2i", 9, 5, 2, 1, 3)
    keys = [
        text("general.architecture") + strings + text("llama"),
        text("general.name") + strings + text("Tiny"),
        text("llama.context_length") + struct.pack("<II", 4, 64),
        text("tokenizer.ggml.tokens") + tokens,
        text("tokenizer.ggml.token_type") + types,
    ]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(keys)


def test_facts_of_a_head(tmp_path: Path) -> None:
    """Name, context, and which tokens are special."""
    (tmp_path / "m.gguf").write_bytes(head())
    assert read_facts(tmp_path / "m.gguf") == GgufFacts("Tiny", 64, {1: "<end>"}, None, is_encoder=False)


@given(st.integers(0, len(head()) - 1))
def test_a_head_that_breaks_off_anywhere_is_a_model_file_error(size: int) -> None:
    """No cut leads to another exception."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(head()[:size])
        file.flush()
        with pytest.raises(ModelFileError):
            read_facts(Path(file.name))


def test_what_is_no_file(tmp_path: Path) -> None:
    """A missing file and a directory are said plainly."""
    with pytest.raises(ModelFileError, match="There is no model file"):
        read_facts(tmp_path / "none")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_facts(tmp_path)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\xfd", b'{"a": NaN}', b'{"a": Infinity}', b"[" * 100_000])
def test_bodies_that_are_no_json(body: bytes) -> None:
    """All of them are a ValueError, which is answered; none ends the connection."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(body)


@given(BODIES)
def test_any_document_is_parsed_or_refused(body: object) -> None:
    """No document, whatever its types, raises anything but a refusal."""
    limits = Limits(100, 120)
    statuses = set()
    for dialect in (TgiDialect(), LmiDialect(), ChatDialect(), CompletionDialect()):
        try:
            dialect.parse(body, limits)
        except ShapeError as error:
            dialect.error(error.message, error.status)
            statuses.add(error.status)
    assert statuses <= {400, 422, 424}
