"""From a YAML file to a checked configuration; every problem at once, with its line."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from llm_deploy.errors import SpecError
from llm_deploy.gateway.config import GatewayConfig
from llm_deploy.spec import source
from llm_deploy.spec.problems import nearest

_SECRET_FIELDS = frozenset({"key", "api_key", "headers", "url"})


def load(path: Path) -> GatewayConfig:
    """Read and check a file.

    Raises:
        SpecError: Everything that is wrong, one line each: `file:line: field: what was expected`.
    """
    file = source.read(path)
    try:
        return GatewayConfig.model_validate(file.raw)
    except ValidationError as error:
        raise SpecError("\n".join(dict.fromkeys(_lines(error, file)))) from error


def check_openness(config: GatewayConfig, host: str) -> None:
    """See that nobody but this machine reaches a gateway without keys.

    Raises:
        SpecError: `keys: off` on an address that others may reach, and nobody has said `allow_open`.
    """
    if config.keys == "off" and not config.allow_open and not is_loopback(host):
        raise SpecError(
            f"keys are off, and {host} may be reached by others",
            hint="Set keys: required, listen on 127.0.0.1, or say allow_open: true.",
        )


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def json_schema() -> dict[str, Any]:
    """The schema of a gateway's file, for editors."""
    schema = GatewayConfig.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Gateway"}


def _lines(error: ValidationError, file: source.Source) -> Iterator[str]:
    found = [(_plain(item["loc"], file.raw), item) for item in error.errors(include_url=False, include_context=False)]
    wrong = [path for path, _ in found]
    for path, item in sorted(found, key=lambda each: file.lines.get(each[0], 0)):
        # pydantic counts a list without its wrong items, and finds it short.
        if item["type"] == "too_short" and any(other != path and other[: len(path)] == path for other in wrong):
            continue
        text = f"{file.where(path)}: {_dotted(path)}{_message(item, path)}"
        yield text if text.endswith("?") else f"{text}."


def _plain(loc: tuple[int | str, ...], raw: Any) -> tuple[int | str, ...]:  # noqa: ANN401 - any YAML value
    """A place in the file: pydantic's, without the words that it adds for kinds of values."""
    path: list[int | str] = []
    for part in loc:
        here = isinstance(raw, dict) and part in raw
        if here or (isinstance(raw, list) and isinstance(part, int) and part < len(raw)):
            raw = raw[part]
        elif part != loc[-1] or part == "[key]":
            continue
        path.append(part)
    return tuple(path)


def _dotted(path: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, path))}: " if path else ""


def _message(item: Any, path: tuple[int | str, ...]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    if item["type"] == "missing":
        return "missing"
    if item["type"] == "extra_forbidden":
        known = sorted(_fields_at(GatewayConfig, path[:-1]))
        meant = nearest(str(path[-1]), known)
        return f"unknown field; did you mean {meant}?" if meant else f"unknown field; fields: {', '.join(known)}"
    message = str(item["msg"]).removeprefix("Value error, ")
    hidden = bool(_SECRET_FIELDS & set(map(str, path))) or isinstance(item["input"], dict | list)
    return message if hidden else f"{item['input']!r:.80}; {message[0].lower()}{message[1:]}"


def _fields_at(document: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """Names of the fields that a document has at a place."""
    if not path:
        return set(document.model_fields)
    head, *rest = path
    field = document.model_fields.get(str(head))
    if field is None:
        return set()
    inner = list(_documents_in(field.annotation))
    skipped = tuple(rest)
    while skipped and not any(str(skipped[0]) in each.model_fields for each in inner):
        skipped = skipped[1:]  # a key of a mapping, or an index of a list
    return set().union(*(_fields_at(each, skipped) for each in inner)) if inner else set()


def _documents_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _documents_in(part)
