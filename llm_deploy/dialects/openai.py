"""OpenAI's shapes, as vLLM, SGLang, llama.cpp, LMI and TGI speak them: chat completions and completions.

`top_k` and `repetition_penalty` are not OpenAI's; vLLM, SGLang and LMI take them under these names. `model` is left
out: the engines serve one model and answer 404 to a wrong name.

Source: OpenAI API reference (chat completions, completions, streaming); vLLM's protocol for `stop_reason`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_deploy.dialects import tool_calls
from llm_deploy.dialects.types import Chunk, FinishReason, Generation, GenerationRequest, Token, TokenCounts
from llm_deploy.errors import InferenceRequestError

_FINISH: Mapping[str, FinishReason] = {
    "length": "length",
    "stop": "stop",
    "eos": "eos",
    "eos_token": "eos",
    "stop_sequence": "stop",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


def body(request: GenerationRequest, *, stream: bool) -> dict[str, Any]:
    """A chat for messages, a completion for a prompt.

    Raises:
        InferenceRequestError: Tools without messages, or as `chat_body`.
    """
    if request.messages is not None:
        return chat_body(request, stream=stream)
    refuse_tools(request)
    document = {"prompt": request.prompt, **_options(request, stream=stream), **constraint(request)}
    if request.logprobs:
        document["logprobs"] = 1
    if request.return_full_text:
        document["echo"] = True
    return document | request.extra


def chat_body(
    request: GenerationRequest,
    *,
    stream: bool,
    constrain: Callable[[GenerationRequest], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A chat; a prompt becomes the one message of a user, for engines that take nothing else (SGLang).

    `constrain` says what the answer must look like, for engines that do not know OpenAI's words for it.

    Raises:
        InferenceRequestError: `return_full_text`, which a chat has no meaning for; two constraints at once.
    """
    if request.return_full_text:
        raise InferenceRequestError("return_full_text needs a raw prompt; a chat's answer never repeats the messages")
    messages = list(request.messages or ({"role": "user", "content": request.prompt},))
    document = {"messages": messages, **_options(request, stream=stream), **(constrain or constraint)(request)}
    if request.logprobs:
        document["logprobs"] = True
    if request.tools:
        document["tools"] = list(request.tools)
        if request.tool_choice is not None:
            document["tool_choice"] = request.tool_choice
    return document | request.extra


def constraint(request: GenerationRequest) -> dict[str, Any]:
    """What the answer must look like: `response_format` for a schema, and for an expression each engine's own word.

    OpenAI has no word for it. vLLM says `structured_outputs`, before 0.11 `guided_regex`; SGLang says `regex`. Each
    ignores the others' words, and an engine that knows none answers freely.

    Raises:
        InferenceRequestError: A schema and an expression at once.
    """
    if request.json_schema is None and request.regex is None:
        return {}
    refuse_two(request)
    if request.json_schema is not None:
        named = {"name": "answer", "schema": request.json_schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    regex = request.regex
    return {"structured_outputs": {"regex": regex}, "guided_regex": regex, "regex": regex}


def refuse_two(request: GenerationRequest) -> None:
    """Refuse an answer that would be bound twice."""
    if request.json_schema is not None and request.regex is not None:
        raise InferenceRequestError("an answer follows json_schema or regex, not both")


def refuse_tools(request: GenerationRequest) -> None:
    """Refuse tools where there is no chat."""
    if request.tools:
        raise InferenceRequestError("tools need messages: engines offer them to a model in chats only")


def _options(request: GenerationRequest, *, stream: bool) -> dict[str, Any]:
    given = {
        "max_tokens": request.max_new_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "repetition_penalty": request.repetition_penalty,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "stop": list(request.stop) or None,
        "seed": request.seed,
        "stream": stream,
        "stream_options": {"include_usage": True} if stream else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def read_answer(document: Any) -> Generation | None:  # noqa: ANN401 - a JSON document
    """The first choice of a completion or a chat completion; `None` when the document is of another shape."""
    if not isinstance(document, dict) or not document.get("choices"):
        return None
    choice = _first(document["choices"])
    if choice is None:
        return None
    reason = _finish(choice) or "unknown"
    counts = _counts(document) or TokenCounts()
    calls = tool_calls.read((choice.get("message") or {}).get("tool_calls"))
    return Generation(_text(choice), reason, counts, None, _tokens(choice), document, calls)


def read_event(document: Any) -> list[Chunk] | None:  # noqa: ANN401 - a JSON document
    """The chunks of one event, one a token where the engine says log-probabilities; `None` for another shape."""
    if not isinstance(document, dict) or "choices" not in document:
        return None
    counts = _counts(document)
    choice = _first(document["choices"])
    if choice is None:
        return [Chunk("", counts=counts)] if counts else []
    calls = tool_calls.pieces(choice.get("delta") or {})
    return _chunks(_text(choice), _tokens(choice), _finish(choice), counts, calls)


def _chunks(
    text: str,
    tokens: tuple[Token, ...],
    reason: FinishReason | None,
    counts: TokenCounts | None,
    calls: tuple[dict[str, Any], ...],
) -> list[Chunk]:
    if len(tokens) <= 1:
        return [Chunk(text, tokens[0] if tokens else None, reason, counts, None, calls)]
    # Several tokens in one event. Their texts need not add up to the event's (a character over two tokens); if they
    # do not, the first chunk carries it all.
    apart = "".join(token.text for token in tokens) == text
    texts = [token.text for token in tokens] if apart else [text] + [""] * (len(tokens) - 1)
    *earlier, last = zip(texts, tokens, strict=True)
    return [Chunk(*pair) for pair in earlier] + [Chunk(*last, reason, counts, None, calls)]


def _first(choices: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((choice for choice in choices if choice.get("index", 0) == 0), None)


def _text(choice: dict[str, Any]) -> str:
    said = choice.get("delta") or choice.get("message")
    text = said.get("content") if said is not None else choice.get("text")
    if text is None:
        return ""  # a role, a tool call, or the thoughts of a reasoning model
    if not isinstance(text, str):
        raise TypeError("the content of a choice is no string")
    return text


def _tokens(choice: dict[str, Any]) -> tuple[Token, ...]:
    logprobs = choice.get("logprobs") or {}
    if logprobs.get("content"):
        return tuple(Token(each["token"], each.get("id"), each["logprob"]) for each in logprobs["content"])
    pairs = zip(logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), strict=False)
    return tuple(Token(text, None, logprob) for text, logprob in pairs)


def _finish(choice: dict[str, Any]) -> FinishReason | None:
    word = choice.get("finish_reason")
    if word is None:
        return None
    # OpenAI says "stop" for both ends; vLLM adds `stop_reason`, which is null when the model ended by itself.
    if word == "stop" and "stop_reason" in choice and choice["stop_reason"] is None:
        return "eos"
    return finish_reason(word)


def finish_reason(word: str) -> FinishReason:
    """An engine's word for why an answer ended, as ours."""
    return _FINISH.get(word, "unknown")


def _counts(document: dict[str, Any]) -> TokenCounts | None:
    usage = document.get("usage")
    if not usage:
        return None
    return TokenCounts(prompt=usage.get("prompt_tokens"), generated=usage.get("completion_tokens"))
