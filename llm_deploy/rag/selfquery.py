"""A filter that the query itself asks for ("in the PDF about costs, after page 3"), from the language model.

The answer is JSON bound by a grammar whose fields are those of passages and whose values are those that the collection
holds, so that whatever the model says is a filter that could match.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_deploy.client.inference import AsyncInference
from llm_deploy.errors import SpecError
from llm_deploy.rag.context import harmless
from llm_deploy.rag.filters import Filters, checked

CHOSEN_FIELDS = ("kind", "language", "tags", "title")
MOST_CHOICES = 40
"""Values of one field in the grammar; a collection with more titles than this cannot be asked by title."""
_NEW_TOKENS = 96


async def filter_of(llm: AsyncInference, query: str, choices: Mapping[str, Sequence[str]]) -> Filters:
    """The filter that the query implies; empty where it implies none, or where the model's answer is no filter.

    Raises:
        LlmDeployError: The model failed.
    """
    offered = {name: list(values) for name, values in choices.items() if 1 < len(values) <= MOST_CHOICES}
    if not offered:
        return {}
    request = replace(
        await llm.defaults(),
        prompt=None,
        messages=({"role": "user", "content": _prompt(query, offered)},),
        json_schema=schema(offered),
        max_new_tokens=_NEW_TOKENS,
        temperature=0.0,
    )
    return read((await llm.generate(request)).text, offered)


def schema(choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A JSON schema of filters: each field a list of known values, each field optional."""
    fields = {
        name: {"type": "array", "items": {"enum": list(values)}, "minItems": 1, "maxItems": 3}
        for name, values in choices.items()
    }
    return {"type": "object", "properties": fields, "additionalProperties": False}


def read(text: str, choices: Mapping[str, Sequence[str]]) -> Filters:
    """The filter in an answer, without what was not offered: not every engine can be bound to a schema."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    found = {name: _known(value, choices[name]) for name, value in document.items() if name in choices}
    try:
        return checked({name: values for name, values in found.items() if values})
    except SpecError:
        return {}


def _known(value: Any, offered: Sequence[str]) -> list[str]:  # noqa: ANN401 - a model's JSON
    given = value if isinstance(value, list) else [value]
    return [each for each in given if isinstance(each, str) and each in offered]


def _prompt(query: str, choices: Mapping[str, Sequence[str]]) -> str:
    known = "\n".join(f"{name}: {', '.join(map(harmless, values))}" for name, values in choices.items())
    return (
        "Which documents does the question restrict itself to? Name a field only if the question names its value; else "
        f"answer {{}}. Answer with JSON.\n\n{known}\n\nQuestion: {harmless(query)}"
    )
