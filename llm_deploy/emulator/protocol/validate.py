"""Inputs are checked as AWS checks them, and our own answers as its clients would.

botocore checks types, required members and minima before it sends; enums, patterns, maxima are left to the server.
All of them are checked here, so that a foreign client gets the same words. Ledger: `protocol.validation` and the
`protocol.constraint.*` entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.protocol.model import ServiceModel, Shape
from llm_deploy.emulator.protocol.patterns import compiled

MAX_FINDINGS = 10
"""A broken document with thousands of members gets an answer that a person can read."""

_NUMBERS = {"integer", "long", "float", "double"}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "blob": (str, bytes),
}


class WrongTypeError(Exception):
    """A member has another JSON type than the model says."""


def check_input(model: ServiceModel, shape: str, value: Any) -> str | None:  # noqa: ANN401 - a JSON value
    """AWS's message about what is wrong with an input; `None` when nothing is.

    Raises:
        WrongTypeError: The value does not have the shape's types at all (AWS: SerializationException).
    """
    findings = []
    for finding in _walk(model, shape, value, ""):
        findings.append(finding)
        if len(findings) == MAX_FINDINGS:
            break
    if not findings:
        return None
    noun = "error" if len(findings) == 1 else "errors"
    return ledger.text("protocol.validation", count=len(findings), noun=noun, findings="; ".join(findings))


def check_output(model: ServiceModel, shape: str | None, value: Any, path: str = "") -> None:  # noqa: ANN401 - as above
    """Assert that an answer is one that the model allows: no unknown member, every required one, right types.

    Raises:
        AssertionError: It is not. That is a bug of ours, and the caller gets a 500 that says so.
    """
    if shape is None:
        if value:
            raise AssertionError(f"an answer where the model has none: {value}")
        return
    described = model.shapes[shape]
    kind = described["type"]
    if not _has_type(kind, value):
        raise AssertionError(f"{path or shape}: {value!r} is no {kind}")
    if kind == "structure":
        _check_members(model, shape, value, path)
    elif kind == "list":
        for index, item in enumerate(value):
            check_output(model, described["member"]["shape"], item, f"{path}[{index}]")
    elif kind == "map":
        for key, item in value.items():
            check_output(model, described["value"]["shape"], item, f"{path}.{key}")
    elif "enum" in described and value not in described["enum"]:
        raise AssertionError(f"{path}: {value!r} is not one of {described['enum']}")


def _check_members(model: ServiceModel, shape: str, value: dict[str, Any], path: str) -> None:
    members = model.shapes[shape]["members"]
    if unknown := value.keys() - members.keys():
        raise AssertionError(f"{path or shape}: members that the model does not have: {sorted(unknown)}")
    if missing := set(model.shapes[shape].get("required", ())) - value.keys():
        raise AssertionError(f"{path or shape}: required members are missing: {sorted(missing)}")
    for name, item in value.items():
        check_output(model, members[name]["shape"], item, f"{path}.{name}")


def _walk(model: ServiceModel, shape: str, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - as above
    described = model.shapes[shape]
    kind = described["type"]
    if not _has_type(kind, value):
        raise WrongTypeError(f"{path or shape} must be a {kind}")
    if kind == "structure":
        yield from _walk_structure(model, described, value, path)
    elif kind == "list":
        yield from _bounds(described, len(value), value, path, of="length")
        for index, item in enumerate(value, start=1):
            yield from _walk(model, described["member"]["shape"], item, f"{path}.{index}.member")
    elif kind == "map":
        yield from _bounds(described, len(value), value, path, of="length")
        for key, item in value.items():
            yield from _walk(model, described["key"]["shape"], key, path)
            yield from _walk(model, described["value"]["shape"], item, f"{path}.{key}.member")
    elif kind == "string":
        yield from _string(described, value, path)
    elif kind in _NUMBERS:
        yield from _bounds(described, value, value, path, of="value")


def _walk_structure(model: ServiceModel, described: Shape, value: dict[str, Any], path: str) -> Iterator[str]:
    dot = f"{path}." if path else ""
    for name in described.get("required", ()):
        if value.get(name) is None:
            yield ledger.text("protocol.constraint.null", path=dot + _camel(name))
    for name, member in described["members"].items():
        # Members that the model does not know are ignored, as AWS ignores them.
        if value.get(name) is not None:
            yield from _walk(model, member["shape"], value[name], dot + _camel(name))


def _string(described: Shape, value: str, path: str) -> Iterator[str]:
    yield from _bounds(described, len(value), value, path, of="length")
    if "enum" in described and value not in described["enum"]:
        allowed = f"[{', '.join(described['enum'])}]"
        yield _finding(value, path, ledger.text("protocol.constraint.enum", allowed=allowed))
    if "pattern" in described and not compiled(described["pattern"]).fullmatch(value):
        yield _finding(value, path, ledger.text("protocol.constraint.pattern", pattern=described["pattern"]))


def _bounds(described: Shape, size: float, value: Any, path: str, *, of: str) -> Iterator[str]:  # noqa: ANN401 - as above
    if "min" in described and size < described["min"]:
        yield _finding(value, path, ledger.text("protocol.constraint.min", of=of, bound=described["min"]))
    if "max" in described and size > described["max"]:
        yield _finding(value, path, ledger.text("protocol.constraint.max", of=of, bound=described["max"]))


def _finding(value: Any, path: str, constraint: str) -> str:  # noqa: ANN401 - as above
    return ledger.text("protocol.constraint", value=value, path=path, constraint=constraint)


def _has_type(kind: str, value: Any) -> bool:  # noqa: ANN401 - as above
    allowed = _PYTHON_TYPES[kind]
    # In Python True is an int; in JSON it is not.
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]
