"""What the official Python client of OpenAI sees of a server: every call, and the class of every refusal.

Usage: python openai_calls.py BASE_URL. The environment holds KEY, KEY_NARROW (may list models alone) and KEY_SLOW (one
request a minute); without them the server asks for no keys. The last line is the report, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import openai

CHAT: list[Any] = [{"role": "user", "content": "Count from one to ten."}]
SETTINGS: dict[str, Any] = {"max_tokens": 24, "temperature": 0, "seed": 7}


def client(key: str | None) -> openai.OpenAI:
    """A client that tries once."""
    return openai.OpenAI(base_url=sys.argv[1], api_key=key or "none", max_retries=0, timeout=120)


def chat(asked: openai.OpenAI) -> dict[str, Any]:
    """A chat, whole and streamed."""
    whole = asked.chat.completions.create(model="twin", messages=CHAT, **SETTINGS)
    begun, times, pieces = time.monotonic(), [], []
    last = usage = None
    for chunk in asked.chat.completions.create(
        model="twin", messages=CHAT, stream=True, stream_options={"include_usage": True}, **SETTINGS
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            last = choice.finish_reason or last
            if choice.delta.content:
                times.append(time.monotonic() - begun)
                pieces.append(choice.delta.content)
    return {
        "text": whole.choices[0].message.content,
        "role": whole.choices[0].message.role,
        "finish": whole.choices[0].finish_reason,
        "model": whole.model,
        "usage": counts(whole.usage),
        "streamed": "".join(pieces),
        "pieces": len(pieces),
        "spread_ms": 1000 * (times[-1] - times[0]),
        "streamed_finish": last,
        "streamed_usage": counts(usage),
    }


def complete(asked: openai.OpenAI) -> dict[str, Any]:
    """A completion, whole and streamed."""
    prompt = "The capital of France is"
    whole = asked.completions.create(model="twin", prompt=prompt, **SETTINGS)
    pieces = [
        chunk.choices[0].text
        for chunk in asked.completions.create(model="twin", prompt=prompt, stream=True, **SETTINGS)
        if chunk.choices
    ]
    return {
        "text": whole.choices[0].text,
        "finish": whole.choices[0].finish_reason,
        "usage": counts(whole.usage),
        "streamed": "".join(pieces),
        "pieces": len(pieces),
    }


def embed(asked: openai.OpenAI) -> dict[str, Any]:
    """Vectors, as lists of numbers and as the client's default base64."""
    texts = ["a cat", "a small cat", "the price of copper"]
    packed = asked.embeddings.create(model="minilm", input=texts)
    plain = asked.embeddings.create(model="minilm", input=texts, encoding_format="float")
    one, two, three = (each.embedding for each in plain.data)
    differences = [abs(a - b) for a, b in zip(packed.data[0].embedding, one, strict=True)]
    return {
        "dimensions": len(one),
        "largest_difference": max(differences),
        "near": sum(a * b for a, b in zip(one, two, strict=True)),
        "far": sum(a * b for a, b in zip(one, three, strict=True)),
        "tokens": plain.usage.prompt_tokens,
    }


def counts(usage: Any) -> list[int]:  # noqa: ANN401 - the client's model
    """Tokens of prompt and answer, and both."""
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def leave(asked: openai.OpenAI) -> dict[str, Any]:
    """Leave a long stream after three pieces; the next question must not have to wait for the rest."""
    story: list[Any] = [{"role": "user", "content": "Tell a very long story."}]
    stream = asked.chat.completions.create(model="twin", messages=story, max_tokens=1500, stream=True)
    for number, _ in enumerate(stream):
        if number == 3:
            break
    stream.close()
    return {"after": asked.chat.completions.create(model="twin", messages=CHAT, **SETTINGS).choices[0].message.content}


def refusal(ask: Any) -> dict[str, Any]:  # noqa: ANN401 - a call to make
    """How the client names what it was told."""
    try:
        ask()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "type": error.type,
            "message": error.message,
            "request_id": error.request_id,
            "retry_after": error.response.headers.get("retry-after"),
        }
    return {"class": "none"}


def refusals(asked: openai.OpenAI) -> dict[str, Any]:
    """What may be refused, with a key or without."""
    seen = {
        "parameter": refusal(lambda: asked.chat.completions.create(model="twin", messages=CHAT, temperature=-3)),
        "role": refusal(lambda: asked.chat.completions.create(model="twin", messages=[{"role": "king"}])),
        "model": refusal(lambda: asked.chat.completions.create(model="nobody", messages=CHAT)),
        "path": refusal(asked.files.list),
    }
    if not os.environ.get("KEY"):
        return seen
    narrow, slow = client(os.environ["KEY_NARROW"]), client(os.environ["KEY_SLOW"])
    slow.models.list()  # lists are free
    slow.chat.completions.create(model="twin", messages=CHAT, **SETTINGS)
    return seen | {
        "key": refusal(lambda: client("llmd_wrong").chat.completions.create(model="twin", messages=CHAT)),
        "scope": refusal(lambda: narrow.chat.completions.create(model="twin", messages=CHAT)),
        "rate": refusal(lambda: slow.chat.completions.create(model="twin", messages=CHAT)),
        "backend": refusal(lambda: asked.chat.completions.create(model="gone", messages=CHAT)),
        "streamed": refusal(lambda: asked.chat.completions.create(model="gone", messages=CHAT, stream=True)),
    }


def main() -> None:
    """Everything once."""
    asked = client(os.environ.get("KEY"))
    report = {
        "models": sorted(model.id for model in asked.models.list()),
        "model": asked.models.retrieve("twin").id,
        "chat": chat(asked),
        "completion": complete(asked),
        "embeddings": embed(asked) if os.environ.get("KEY") else None,
        "left": leave(asked),
        "refusals": refusals(asked),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
