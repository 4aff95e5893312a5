"""Read the few facts of a GGUF file that must be known before the engine opens it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llm_deploy.errors import ModelFileError

_MAGIC = b"GGUF"
_VERSIONS = {2, 3}
# Value types of the format and their struct codes; 8 is a string, 9 an array.
# Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_STRING_BYTES = 1 << 20
_MAX_KEYS = 4096
_MAX_ELEMENTS = 1 << 22
_CONTROL = 3  # a token type: written by the chat template, not by people


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What the head of a file says; `None` where it does not.

    Attributes:
        control_tokens: Text of each special token (`<|im_end|>`) by its id.
        embedding_length: Dimensions of a token's, and of an encoder's, vectors.
        is_encoder: Whether the model turns a text into one vector instead of generating.
    """

    name: str | None
    context_tokens: int | None
    control_tokens: dict[int, str]
    embedding_length: int | None = None
    is_encoder: bool = False


def read_facts(path: Path) -> GgufFacts:
    """Read a model file's head; some tens of milliseconds, most of them for the vocabulary.

    Raises:
        ModelFileError: Missing, empty, or not a GGUF file.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except FileNotFoundError as error:
        raise ModelFileError(
            f"There is no model file {path}.", hint="llmdeploy models list says which there are."
        ) from error
    except OSError as error:
        raise ModelFileError(f"The model file {path} cannot be read: {error.strerror}.") from error
    except struct.error as error:
        raise _not_gguf(path, "its head breaks off") from error


def _not_gguf(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is not a GGUF model file: {why}.", hint="Fetch it again, or give the path of a .gguf file."
    )


def _read(file: BinaryIO, path: Path) -> GgufFacts:
    if file.read(4) != _MAGIC:
        raise _not_gguf(path, "it does not begin with GGUF")
    version, _tensors, keys = _unpack(file, "IQQ")
    if version not in _VERSIONS or not 0 < keys <= _MAX_KEYS:
        raise _not_gguf(path, f"format version {version} with {keys} keys")
    found: dict[str, object] = {}
    for _ in range(keys):
        key = _string(file)
        kind = _unpack(file, "I")[0]
        found[key] = _value(file, kind, path)
    name, architecture = found.get("general.name"), found.get("general.architecture")
    context, length = found.get(f"{architecture}.context_length"), found.get(f"{architecture}.embedding_length")
    return GgufFacts(
        name if isinstance(name, str) else None,
        context if isinstance(context, int) else None,
        _control_tokens(found),
        length if isinstance(length, int) else None,
        is_encoder=f"{architecture}.pooling_type" in found,
    )


def _control_tokens(found: dict[str, object]) -> dict[int, str]:
    tokens, types = found.get("tokenizer.ggml.tokens"), found.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, tuple) or not isinstance(types, tuple):
        return {}
    return {i: str(text) for i, (text, kind) in enumerate(zip(tokens, types, strict=False)) if kind == _CONTROL}


def _value(file: BinaryIO, kind: int, path: Path) -> object:
    if kind == _ARRAY:
        return _array(file, path)
    if kind == _STRING:
        return _string(file)
    if kind not in _SCALARS:
        raise _not_gguf(path, f"a value of the unknown type {kind}")
    return _unpack(file, _SCALARS[kind])[0]


def _array(file: BinaryIO, path: Path) -> tuple[object, ...]:
    kind, count = _unpack(file, "IQ")
    if count > _MAX_ELEMENTS:
        raise _not_gguf(path, f"an array of {count} elements")
    if kind == _STRING:
        return tuple(_string(file) for _ in range(count))
    if kind not in _SCALARS:
        raise _not_gguf(path, f"an array of the unknown type {kind}")
    return _unpack(file, f"{count}{_SCALARS[kind]}")


def _string(file: BinaryIO) -> str:
    size = _unpack(file, "Q")[0]
    if size > _MAX_STRING_BYTES:
        raise struct.error("a string that is too long")
    return file.read(size).decode(errors="replace")


def _unpack(file: BinaryIO, code: str) -> tuple[int, ...]:
    layout = struct.Struct(f"<{code}")
    return layout.unpack(file.read(layout.size))
