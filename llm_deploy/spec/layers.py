"""Values with their origins, laid over each other: what a person said last and nearest wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llm_deploy.errors import SpecError
from llm_deploy.spec import short_forms, source
from llm_deploy.spec.rules import Path

OriginKind = Literal["flag", "file", "env", "default"]
_FREE_KEYS = frozenset({"environment", "tags"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from; `text` is `--set instance.type`, `configs/twin.yaml:12`, `.env:3 GPUS` or `default`."""

    kind: OriginKind
    text: str

    def __str__(self) -> str:
        return self.text


DEFAULT = Origin("default", "default")


@dataclass(frozen=True)
class Layer:
    """Raw values, short forms spelt out, and the origin of each that was written."""

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    origins: dict[Path, Origin] = field(default_factory=dict)

    def origin(self, path: Path) -> Origin | None:
        """The origin of a value, of the nearest thing around it that was written, or of something in it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return next((origin for inner, origin in self.origins.items() if inner[: len(path)] == path), None)


def from_source(file: source.Source) -> Layer:
    """The layer of a file."""
    values = short_forms.expand(file.raw)
    origins = {path: Origin("file", file.where(path)) for path in paths(values)}
    return Layer(values, origins)


def from_flags(overrides: Mapping[str, str]) -> Layer:
    """The layer of `--set key=value` flags; keys are dotted, `null` unsets, `[a, b]` is a list."""
    layer = Layer()
    for key, text in overrides.items():
        path = _flag_path(key)
        value = _flag_value(text, path)
        if len(path) == 1 and path[0] in short_forms.EXPANDABLE:
            value = short_forms.EXPANDABLE[path[0]](value)
        _put(layer.values, path, value, key)
        for inner in (path, *((*path, *rest) for rest in paths(value))):
            layer.origins[inner] = Origin("flag", f"--set {key}")
    return layer


def over(lower: Layer, higher: Layer) -> Layer:
    """The higher layer laid over the lower: mappings are merged, everything else is replaced."""
    values = _merge(lower.values, higher.values, ())
    left = {path: origin for path, origin in lower.origins.items() if _has(values, path)}
    return Layer(values, {**left, **higher.origins})


def paths(value: object, path: Path = ()) -> Iterator[Path]:
    """The path of every mapping entry and list item."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here = (*path, key)
        yield here
        yield from paths(item, here)


def _merge(lower: Mapping[str, Any], higher: Mapping[str, Any], path: Path) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in higher.items():
        below = merged.get(key)
        here = (*path, key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and not _another_model(here, value):
            merged[key] = _merge(below, value, here)
        else:
            merged[key] = value
    return merged


def _another_model(path: Path, value: Mapping[str, Any]) -> bool:
    """A model that is named anew does not keep the revision or the prefix of the one below."""
    return path == ("model",) and bool({"id", "s3_uri"} & value.keys())


def _has(values: Any, path: Path) -> bool:  # noqa: ANN401 - any raw value
    for part in path:
        inside = (
            part in values if isinstance(values, Mapping) else isinstance(values, list) and part in range(len(values))
        )
        if not inside:
            return False
        values = values[part]
    return True


def _flag_path(key: str) -> tuple[str, ...]:
    head, dot, rest = key.partition(".")
    if head in _FREE_KEYS and dot:
        return head, rest
    parts = tuple(key.split("."))
    if not all(parts):
        raise SpecError(f"--set {key}: expected a field such as instance.type=ml.g5.2xlarge.")
    return parts


def _flag_value(text: str, path: tuple[str, ...]) -> object:
    if path[0] in _FREE_KEYS and len(path) > 1:
        return text
    if text in {"null", "~"}:
        return None
    if text[:1] in {"[", "{"}:
        key = path[0] if path[0] in _FREE_KEYS else "value"
        return source.parse(f"{key}: {text}", f"--set {'.'.join(path)}").raw[key]
    return text


def _put(values: dict[str, Any], path: tuple[str, ...], value: object, key: str) -> None:
    *parents, name = path
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise SpecError(f"--set {key}: {parent} is set as a whole by another --set.")
        values = inner
    if isinstance(value, dict) and isinstance(values.get(name), dict):
        values[name] = {**value, **values[name]}
    else:
        values[name] = value
