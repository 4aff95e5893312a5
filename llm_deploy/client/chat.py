"""Chats as requests: messages, what the model is told first, tools, and what the answer must look like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_deploy.client.payload import Inputs, with_inputs, with_parameters
from llm_deploy.dialects.types import GenerationRequest, ToolCall
from llm_deploy.errors import InferenceRequestError


def asked_of(
    default: GenerationRequest, inputs: Inputs | GenerationRequest, given: Mapping[str, Any]
) -> GenerationRequest:
    """A request for a prompt or for messages, over the defaults; a whole request stays what it is.

    What is given is of this call, in TGI's or our names.
    """
    if isinstance(inputs, GenerationRequest):
        return with_parameters(inputs, given) if given else inputs
    return with_parameters(with_inputs(default, inputs), given)


def requests_of(
    default: GenerationRequest, asked: Iterable[Inputs | GenerationRequest], given: Mapping[str, Any]
) -> list[GenerationRequest]:
    """As `asked_of`, for many.

    Raises:
        InferenceRequestError: One text instead of several.
    """
    if isinstance(asked, str):
        raise InferenceRequestError("a batch is a list of prompts, not one text", hint="Put it into a list.")
    return [asked_of(default, each, given) for each in asked]


def chat_request(
    default: GenerationRequest,
    messages: str | Sequence[Mapping[str, Any]],
    *,
    system: str | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: str | Mapping[str, Any] | None = None,
    json_schema: Mapping[str, Any] | None = None,
    regex: str | None = None,
    parameters: Mapping[str, Any],
) -> GenerationRequest:
    """A chat's request over the defaults.

    A text is the one message of a user; `system` goes before the messages. Parameters are in TGI's or our names; the
    rest is as in `GenerationRequest`.
    """
    listed = ({"role": "user", "content": messages},) if isinstance(messages, str) else tuple(messages)
    first = ({"role": "system", "content": system},) if system is not None else ()
    request = with_parameters(with_inputs(default, (*first, *listed)), parameters)
    return replace(
        request,
        tools=tuple(dict(tool) for tool in tools) or request.tools,
        tool_choice=dict(tool_choice) if isinstance(tool_choice, Mapping) else tool_choice or request.tool_choice,
        json_schema=dict(json_schema) if json_schema is not None else request.json_schema,
        regex=regex if regex is not None else request.regex,
    )


def said_by_tools(text: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    """The model's own message with its calls, to put before the tools' answers in the next request."""
    listed = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    return {"role": "assistant", "content": text or None, "tool_calls": listed}
