"""Text Generation Inference's own shape: `inputs` and `parameters` in, `generated_text` and `token` events out.

LMI speaks it with variations (an object instead of a list, `log_prob` for `logprob`), so the readers take both.

Source: TGI 3.x router (`GenerateRequest`, `GenerateResponse`, `StreamResponse`) and the LMI input/output schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_deploy.dialects import openai
from llm_deploy.dialects.types import Chunk, FinishReason, Generation, GenerationRequest, Token, TokenCounts
from llm_deploy.errors import InferenceRequestError

_FINISH: Mapping[str, FinishReason] = {
    "length": "length",
    "eos_token": "eos",
    "stop_sequence": "stop",
    "content_filter": "content_filter",
    "stop": "stop",
    "tool_calls": "tool_calls",
}


def body(request: GenerationRequest, *, stream: bool) -> dict[str, Any]:
    """The body for `/invocations`; chats go in OpenAI's shape, which TGI tells apart by `messages`.

    Raises:
        InferenceRequestError: As `parameters` and `openai.chat_body`.
    """
    if request.messages is not None:
        return openai.chat_body(request, stream=stream, constrain=_response_format)
    return unknown_body(request, stream=stream)


def unknown_body(request: GenerationRequest, *, stream: bool) -> dict[str, Any]:
    """The body for an engine that may be another: a chat's answer is bound in OpenAI's words, which most take."""
    if request.messages is not None:
        return openai.chat_body(request, stream=stream)
    openai.refuse_tools(request)
    return {"inputs": request.prompt, "parameters": parameters(request), "stream": stream}


def parameters(request: GenerationRequest, *, stop_name: str = "stop") -> dict[str, Any]:
    """TGI's `parameters`. `details` is always asked for: without it there is no finish reason and no token count.

    Raises:
        InferenceRequestError: `presence_penalty`, which this shape has no word for; two constraints at once.
    """
    if request.presence_penalty is not None:
        raise InferenceRequestError(
            "this engine takes no presence_penalty with a prompt", hint="Use frequency_penalty."
        )
    given = {
        "max_new_tokens": request.max_new_tokens,
        **_sampling(request),
        "repetition_penalty": request.repetition_penalty,
        "frequency_penalty": request.frequency_penalty,
        stop_name: list(request.stop) or None,
        "seed": request.seed,
        "return_full_text": request.return_full_text,
        "details": True,
        "grammar": _grammar(request),
    }
    return {name: value for name, value in given.items() if value is not None} | request.extra


def _grammar(request: GenerationRequest) -> dict[str, Any] | None:
    """What the answer must look like, in TGI's words."""
    if request.json_schema is None and request.regex is None:
        return None
    openai.refuse_two(request)
    if request.json_schema is not None:
        return {"type": "json", "value": request.json_schema}
    return {"type": "regex", "value": request.regex}


def _response_format(request: GenerationRequest) -> dict[str, Any]:
    """As `_grammar`, for chats. Source: TGI 3.x, `ChatRequest.response_format` is of the type of `grammar`."""
    grammar = _grammar(request)
    return {} if grammar is None else {"response_format": grammar}


def _sampling(request: GenerationRequest) -> dict[str, Any]:
    """Temperature, top_p and top_k in the ranges TGI accepts.

    It refuses `temperature` 0 (greedy is `do_sample: false`), and `top_p` 1 and `top_k` 0 (both mean "no limit", which
    is what leaving them out means too).
    """
    temperature = request.temperature or None
    top_p = request.top_p if request.top_p is not None and request.top_p < 1 else None
    if request.temperature == 0:
        return {"do_sample": False}
    sampled = True if temperature is not None else None
    return {"do_sample": sampled, "temperature": temperature, "top_p": top_p, "top_k": request.top_k or None}


def read_answer(document: Any) -> Generation | None:  # noqa: ANN401 - a JSON document
    """The answer in a document of this shape, a list with one or bare; `None` when it is of another shape."""
    item = document[0] if isinstance(document, list) and document else document
    if not isinstance(item, dict) or not isinstance(item.get("generated_text"), str):
        return None
    details = item.get("details") or {}
    said = details.get("tokens")
    tokens = tuple(map(_token, said)) if said else ()
    return Generation(item["generated_text"], _finish(details), _counts(details), tokens=tokens, raw=document)


def read_event(document: Any) -> list[Chunk] | None:  # noqa: ANN401 - a JSON document
    """The chunk of a `token` event, or of a whole answer that a server sent although it was asked to stream."""
    item = document[0] if isinstance(document, list) and document else document
    if not isinstance(item, dict):
        return None
    if "token" in item:
        return [_chunk(item)]
    answer = read_answer(item)
    return None if answer is None else [Chunk(answer.text, None, answer.finish_reason, answer.counts)]


def _chunk(event: dict[str, Any]) -> Chunk:
    token = _token(event["token"])
    text = "" if token.special else token.text
    if event.get("generated_text") is None and not event.get("details"):
        return Chunk(text, token)
    details = event.get("details") or {}
    return Chunk(text, token, _finish(details), _counts(details))


def _token(fields: dict[str, Any]) -> Token:
    special = fields.get("special", fields.get("special_token", False))
    logprob = fields.get("logprob", fields.get("log_prob"))
    text = fields["text"]
    if not isinstance(text, str):
        raise TypeError("the text of a token is no string")
    return Token(text, fields.get("id"), logprob, bool(special))


def _finish(details: dict[str, Any]) -> FinishReason:
    # "finish reason" is how LMI's documentation writes it.
    return _FINISH.get(str(details.get("finish_reason", details.get("finish reason"))), "unknown")


def _counts(details: dict[str, Any]) -> TokenCounts:
    prompt = details.get("input_length")
    if prompt is None and details.get("prefill"):
        prompt = len(details["prefill"])
    return TokenCounts(prompt=prompt, generated=details.get("generated_tokens"))
