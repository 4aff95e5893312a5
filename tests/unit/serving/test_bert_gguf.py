"""From a sentence-transformers folder to one GGUF file, with a model of a few numbers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.errors import ModelFileError
from llm_deploy.serving.bert_gguf import convert
from llm_deploy.serving.gguf import read_facts

CONFIG = {
    "max_position_embeddings": 8,
    "hidden_size": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 4,
    "num_attention_heads": 1,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##ing", "["]
TENSORS = {
    "embeddings.word_embeddings.weight": [8, 2],
    "embeddings.position_ids": [1, 8],
    "encoder.layer.0.attention.self.query.bias": [2],
    "pooler.dense.weight": [2, 2],
}


def safetensors(**changed: Any) -> bytes:  # noqa: ANN401 - members of a header
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, shape in TENSORS.items():
        values = [float(number) for number in range(shape[0] * (shape[1] if len(shape) > 1 else 1))]
        block = struct.pack(f"<{len(values)}f", *values)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(block)]} | changed
        data += block
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete model of two dimensions."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "model.safetensors").write_bytes(safetensors())
    return tmp_path


def test_names_words_and_weights_are_llama_cpps(folder: Path) -> None:
    """Tensors have its names, words its spelling; what it does not know is left out; weights are copied as they are."""
    convert(folder, folder / "m.gguf", name="tiny")
    data = (folder / "m.gguf").read_bytes()
    facts = read_facts(folder / "m.gguf")
    assert (facts.name, facts.context_tokens, facts.embedding_length, facts.is_encoder) == ("tiny", 8, 2, True)
    assert facts.control_tokens == dict(enumerate(WORDS[:5]))
    assert b"blk.0.attn_q.bias" in data
    assert b"token_embd.weight" in data
    assert b"pooler" not in data
    assert b"position_ids" not in data
    assert "\u2581hello".encode() in data
    assert b"\x03\0\0\0\0\0\0\0ing" in data
    # By name: attn_q.bias first, and each tensor at a multiple of 32 bytes.
    assert data.endswith(struct.pack("<16f", *range(16)))
    assert len(data) % 32 == 0


def test_the_same_input_gives_the_same_bytes(folder: Path) -> None:
    """So that the result has a hash that is known beforehand."""
    for name in ("a", "b"):
        convert(folder, folder / name, name="tiny")
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


@pytest.mark.parametrize("missing", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    """Whatever is missing."""
    (folder / missing).unlink()
    with pytest.raises(ModelFileError, match=missing):
        convert(folder, folder / "m.gguf", name="tiny")


def test_other_weights_than_32_bit_floats_are_refused(folder: Path) -> None:
    """A half would be read as rubbish."""
    (folder / "model.safetensors").write_bytes(safetensors(dtype="F16"))
    with pytest.raises(ModelFileError, match="F16"):
        convert(folder, folder / "m.gguf", name="tiny")


@given(st.integers(0, len(safetensors()) - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_that_break_off_anywhere_are_refused(folder: Path, size: int) -> None:
    """No cut leads to another exception, and none before the last tensor of use to a file."""
    (folder / "model.safetensors").write_bytes(safetensors()[:size])
    unused = 16  # bytes of the pooler, which comes last
    try:
        convert(folder, folder / "m.gguf", name="tiny")
    except ModelFileError:
        assert size < len(safetensors()) - unused
    else:
        assert size >= len(safetensors()) - unused
