"""OpenAI's own Python client against a base URL: argv is what to ask (`chat` or `embeddings`), the URL and the key."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

openai: Any = importlib.import_module("openai")  # installed where this runs, and nowhere else
MESSAGES: list[Any] = [{"role": "user", "content": "Say hello"}]


def main() -> None:
    """Ask, and write what was seen as the last line."""
    what, url, key = sys.argv[1:]
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    sys.stdout.write(json.dumps({"chat": chat, "embeddings": embeddings}[what](client)) + "\n")


def chat(client: Any) -> dict[str, Any]:  # noqa: ANN401 - the client has no types here
    """Whole, streamed with its usage, refused by the model and refused at the door."""
    asked: dict[str, Any] = {"model": "", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    pieces, usage = [], None
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        pieces += [choice.delta.content or "" for choice in chunk.choices]
        usage = chunk.usage or usage
    return {
        "whole": whole.choices[0].message.content,
        "pieces": pieces,
        "tokens": None if usage is None else usage.completion_tokens,
        "bad": _refusal(lambda: client.chat.completions.create(**asked | {"temperature": -1})),
        "stranger": _refusal(lambda: client.with_options(api_key="sk-nobody").chat.completions.create(**asked)),
        "elsewhere": _refusal(client.models.list),
    }


def embeddings(client: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """The client asks for base64 by itself and decodes it; as numbers they are the same."""
    texts = ["Bread is baked.", "It rains."]
    packed = client.embeddings.create(model="m", input=texts)
    plain = client.embeddings.create(model="m", input=texts, encoding_format="float")
    return {
        "lengths": [len(each.embedding) for each in packed.data],
        "same": [each.embedding for each in packed.data] == [each.embedding for each in plain.data],
        "tokens": packed.usage.prompt_tokens,
        "models": [model.id for model in client.models.list()],
        "shorter": _refusal(lambda: client.embeddings.create(model="m", input="x", dimensions=8)),
        "chat": _refusal(lambda: client.chat.completions.create(model="m", messages=MESSAGES)),
    }


def _refusal(call: Any) -> list[Any]:  # noqa: ANN401 - a function without arguments
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.message]
    return []


if __name__ == "__main__":
    main()
