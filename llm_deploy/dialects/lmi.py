"""Large Model Inference (DJL Serving) containers: TGI's request shape with one other name, both answer shapes.

Streams come as JSON lines: bare OpenAI chunks for chats, without `data:` and without `[DONE]`, and `token` lines for
`inputs`; errors before the first token may come with HTTP 200.

Source: LMI input/output schema; DJL Serving's TGI and OpenAI compatible handlers.
"""

from __future__ import annotations

from typing import Any

from llm_deploy.dialects import openai, tgi
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest
from llm_deploy.errors import InferenceRequestError


def body(request: GenerationRequest, *, stream: bool) -> dict[str, Any]:
    """The body for `/invocations`: `messages` or `inputs`.

    Raises:
        InferenceRequestError: A prompt with a schema or an expression for its answer: LMI has them in chats only.
    """
    if request.messages is not None:
        return openai.chat_body(request, stream=stream)
    openai.refuse_tools(request)
    if request.json_schema is not None or request.regex is not None:
        raise InferenceRequestError(
            "LMI binds the answers of chats only", hint="Ask with messages instead of a prompt."
        )
    return {
        "inputs": request.prompt,
        "parameters": tgi.parameters(request, stop_name="stop_sequences"),
        "stream": stream,
    }


def read_answer(document: Any) -> Generation | None:  # noqa: ANN401 - a JSON document
    """An answer in OpenAI's shape or in TGI's; `None` for any other."""
    return openai.read_answer(document) or tgi.read_answer(document)


def read_event(document: Any) -> list[Chunk] | None:  # noqa: ANN401 - a JSON document
    """An event in OpenAI's shape or in TGI's; `None` for any other."""
    chunks = openai.read_event(document)
    return tgi.read_event(document) if chunks is None else chunks
