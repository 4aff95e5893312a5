"""Other wordings of a query, from the language model: what one wording misses another may find."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from llm_deploy.client.inference import AsyncInference
from llm_deploy.rag.context import harmless
from llm_deploy.tracing import conventions
from llm_deploy.tracing.spans import Span

LONGEST_WORDING = 300
_NEW_TOKENS_EACH = 48


async def wordings(llm: AsyncInference, query: str, number: int, seen: Span) -> list[str]:
    """Up to so many other wordings, without the query itself; fewer or none if the model gives no more.

    The answer is bound to a JSON schema where the engine can do that; anything else in it is ignored.

    Raises:
        LlmDeployError: The model failed.
    """
    request = replace(
        await llm.defaults(),
        prompt=None,
        messages=({"role": "user", "content": _prompt(query, number)},),
        json_schema=_schema(number),
        max_new_tokens=_NEW_TOKENS_EACH * number,
        temperature=0.0,
    )
    answer = await llm.generate(request)
    found = _read(answer.text, query)[:number]
    seen.set(**conventions.queries(query, found))
    return found


def _prompt(query: str, number: int) -> str:
    return (
        f"Write {number} different search queries that find documents which answer the question. Use other words, and "
        f'keep names as they are. Answer with JSON: {{"queries": [...]}}\n\nQuestion: {harmless(query)}'
    )


def _schema(number: int) -> dict[str, Any]:
    one = {"type": "string", "minLength": 3, "maxLength": LONGEST_WORDING}
    return {
        "type": "object",
        "properties": {"queries": {"type": "array", "items": one, "minItems": 1, "maxItems": number}},
        "required": ["queries"],
        "additionalProperties": False,
    }


def _read(text: str, query: str) -> list[str]:
    try:
        found = json.loads(text)["queries"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    if not isinstance(found, list):
        return []
    texts = (" ".join(each.split())[:LONGEST_WORDING] for each in found if isinstance(each, str))
    return [each for each in dict.fromkeys(texts) if each and each.casefold() != query.casefold()]
