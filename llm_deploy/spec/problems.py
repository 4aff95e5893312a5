"""pydantic's errors in our words: what was found, what was expected, what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from llm_deploy.spec.fields import EXPECTED
from llm_deploy.spec.masking import is_secret
from llm_deploy.spec.rules import Finding, Path, dotted
from llm_deploy.spec.short_forms import ENDPOINT_TYPE_WORDS

_UNION_TAGS = frozenset({"hub", "s3"})
_SHOWN_LENGTH = 80
_SECRET_FIELDS = frozenset({"environment"})
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
    "less_than": ("lt", "less than"),
}
_KINDS = {
    "string_type": "text; put it into quotes",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields",
    "number_expected": "a number",
    "tuple_type": "a list",
}


def problems_of(error: ValidationError, document: type[BaseModel]) -> tuple[Finding, ...]:
    """Every error as a finding, each place once."""
    found: dict[Path, Finding] = {}
    for item in error.errors(include_url=False):
        path = _path(item["loc"])
        found.setdefault(path, Finding(path, _message(item, path, document)))
    return tuple(found.values())


def nearest(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The choice that was probably meant; `cutoff` is difflib's: 1 takes only the word itself."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def suggestion(word: str, choices: Iterable[str]) -> str:
    """`; did you mean x?`, or nothing."""
    found = nearest(word, choices)
    return f"; did you mean {found}?" if found else ""


def shown(value: object, path: Path) -> str:
    """A value for a message: bounded, and hidden where secrets may be."""
    if path and path[0] in _SECRET_FIELDS:
        return "a value"
    if value is None:
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    if is_secret(str(path[-1]) if path else "", text):
        return "a value that looks like a secret"
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def fields_at(document: type[BaseModel], path: Path) -> tuple[str, ...]:
    """Names of the fields that exist at a place in a document; of both kinds where there is a choice."""
    documents = [document]
    for part in path:
        documents = [
            inner
            for outer in documents
            if isinstance(part, str) and part in outer.model_fields
            for inner in _documents_in(outer.model_fields[part].annotation)
        ]
    return tuple(dict.fromkeys(name for found in documents for name in found.model_fields))


def _documents_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _documents_in(part)]


def _path(loc: tuple[int | str, ...]) -> Path:
    return tuple(
        part for index, part in enumerate(loc) if not (index == 1 and loc[0] == "model" and part in _UNION_TAGS)
    )


def _message(item: Any, path: Path, document: type[BaseModel]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    kind, context, value = item["type"], item.get("ctx", {}), item.get("input")
    if kind == "missing":
        return _missing(path, document)
    if kind == "extra_forbidden":
        return _unknown(path, document)
    if path[-1:] == ("endpoint_type",):
        return _not_a_choice(value, path, list(ENDPOINT_TYPE_WORDS))
    if kind in {"literal_error", "enum"}:
        return _not_a_choice(value, path, re.findall(r"'([^']*)'", context["expected"]))
    if expected := _expected(kind, context):
        return f"{shown(value, path)}; expected {expected}"
    return _length_message(kind, context, value, path) or str(item["msg"])


def _expected(kind: str, context: dict[str, Any]) -> str | None:
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]}"
    if kind == "string_pattern_mismatch":
        return EXPECTED.get(context["pattern"], f"text that matches {context['pattern']}")
    return _KINDS.get(kind)


def _length_message(kind: str, context: dict[str, Any], value: object, path: Path) -> str | None:
    if kind == "string_too_long":
        return f"{len(str(value))} characters; expected at most {context['max_length']}{_why(path)}"
    if kind == "string_too_short":
        return "empty; expected some text"
    if kind == "too_long":
        return f"{context['actual_length']} entries; expected at most {context['max_length']}"
    return None


def _why(path: Path) -> str:
    if path in {("name",), ("endpoint_config_name",)}:
        return " (9 more are added to make names from content, and AWS takes 63)"
    return ""


def _missing(path: Path, document: type[BaseModel]) -> str:
    *parents, name = path
    description = ""
    if not parents and isinstance(name, str) and name in document.model_fields:
        description = (document.model_fields[name].description or "").rstrip(".")
    return f"missing{f'; {description}' if description else ''}"


def _unknown(path: Path, document: type[BaseModel]) -> str:
    *parents, name = path
    known = fields_at(document, tuple(parents))
    meant = nearest(str(name), known)
    where = f"fields of {dotted(tuple(parents))}" if parents else "fields"
    return f"unknown field; did you mean {meant}?" if meant else f"unknown field; {where}: {', '.join(known)}"


def _not_a_choice(value: object, path: Path, choices: list[str]) -> str:
    return f"{shown(value, path)} is unknown; expected {', '.join(choices)}{suggestion(str(value), choices)}"
