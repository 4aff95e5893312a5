"""Names and shapes of attributes, as OpenTelemetry's conventions for generative AI have them; plain values in.

Functions that return content (prompts, answers, queries, documents' text) return none while it is not captured. Nested
values are given as such; the recorder writes them as JSON, which is what back ends read from a span's attributes.

Source: open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-spans.md and the schemas beside it (status
"development", read in 2026-11). Names that begin with `llmdeploy.` are ours, for what the conventions have no name for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from llm_deploy.tracing.messages import input_messages, output_message
from llm_deploy.tracing.spans import captures_content

Operation = Literal["chat", "text_completion", "embeddings", "retrieval", "invoke_workflow", "execute_tool"]
Attributes = dict[str, Any]

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
DATA_SOURCE = "gen_ai.data_source.id"
RETRIEVAL_QUERY = "gen_ai.retrieval.query.text"
RETRIEVAL_DOCUMENTS = "gen_ai.retrieval.documents"
WORKFLOW = "gen_ai.workflow.name"
SERVER_ADDRESS, SERVER_PORT = "server.address", "server.port"
ERROR_TYPE = "error.type"
STEP_QUERIES = "llmdeploy.rag.queries"
"""The query as it was asked first, then what it was expanded to."""
CANCELLED = "llmdeploy.cancelled"
"""The caller left before the end: no error of ours."""

SAGEMAKER = "aws.sagemaker"
"""Provider of endpoints; the conventions have no word for them yet."""

CONTENT_PREFIX = "llmdeploy.content."
"""Begins the names of further attributes that hold what people wrote or read."""
CONTENT = frozenset({
    INPUT_MESSAGES, OUTPUT_MESSAGES, SYSTEM_INSTRUCTIONS, TOOL_DEFINITIONS, RETRIEVAL_QUERY, STEP_QUERIES,
    "gen_ai.tool.call.arguments", "gen_ai.tool.call.result",
    "rag.query", "rag.queries", "rag.query.expanded", "rag.filter", "rag.answer",
})  # fmt: skip
"""Recorded only while content is captured, whoever sets them. Documents keep id and score."""

_REQUEST = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "stop": "gen_ai.request.stop_sequences",
    "seed": "gen_ai.request.seed",
}


def is_content(name: str) -> bool:
    """Whether an attribute of this name holds what people wrote or read."""
    return name in CONTENT or name.startswith(CONTENT_PREFIX)


def request(
    operation: Operation,
    model: str,
    *,
    provider: str,
    stream: bool = False,
    json: bool = False,
    url: str | None = None,
    **parameters: Any,  # noqa: ANN401 - numbers, texts and lists of texts
) -> Attributes:
    """What is known when a call of a model begins: for the span's creation. The span's name is `{operation} {model}`.

    `json`: the answer is bound to a JSON schema or grammar. `url`: the model server's; host and port are taken from it.
    Parameters: max_tokens, temperature, top_p, top_k, frequency_penalty, presence_penalty, stop, seed; `None` and empty
    ones are left out, other names too.
    """
    found: Attributes = {OPERATION: operation, PROVIDER: provider, REQUEST_MODEL: model}
    if stream:
        found["gen_ai.request.stream"] = True
    if json:
        found["gen_ai.output.type"] = "json"
    for name, value in parameters.items():
        if name in _REQUEST and value is not None and value != ():
            found[_REQUEST[name]] = list(value) if isinstance(value, tuple) else value
    return found | (address(url) if url else {})


def prompt(
    *,
    text: str | None = None,
    messages: Iterable[Mapping[str, Any]] | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Attributes:
    """The prompt, raw or as a chat in OpenAI's shape, and the tools that the model may call; content."""
    if not captures_content():
        return {}
    asked = [{"role": "user", "content": text}] if text is not None else (messages or ())
    found: Attributes = {INPUT_MESSAGES: input_messages(asked)}
    if tools:
        found[TOOL_DEFINITIONS] = [{"type": "function"} | dict(tool.get("function", tool)) for tool in tools]
    return found


def answer(
    *,
    text: str | None = None,
    finish_reason: str = "unknown",
    tool_calls: Iterable[Mapping[str, Any]] = (),
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    model: str | None = None,
    response_id: str | None = None,
    first_chunk_s: float | None = None,
) -> Attributes:
    """What is known when a model has answered; the text and the calls of tools are content.

    `finish_reason` is a word of `dialects.FinishReason` or OpenAI; `tool_calls` are `{"id", "name", "arguments"}`
    each; `first_chunk_s` counts from sending the request to the first piece of a stream.
    """
    message = output_message(text or "", finish_reason, tool_calls)
    found: Attributes = {
        FINISH_REASONS: [message["finish_reason"]],
        INPUT_TOKENS: input_tokens,
        OUTPUT_TOKENS: output_tokens,
        RESPONSE_MODEL: model or None,
        RESPONSE_ID: response_id or None,
        TIME_TO_FIRST_CHUNK: first_chunk_s,
    }
    if captures_content():
        found[OUTPUT_MESSAGES] = [message]
    return {name: value for name, value in found.items() if value is not None}


def retrieval(data_source: str, *, limit: int | None = None, url: str | None = None) -> Attributes:
    """A search in an index begins: for the creation of a span named `retrieval {data_source}`."""
    found: Attributes = {OPERATION: "retrieval", DATA_SOURCE: data_source, "gen_ai.request.top_k": limit}
    return {name: value for name, value in found.items() if value is not None} | (address(url) if url else {})


def queries(asked: str, expanded: Iterable[str] = ()) -> Attributes:
    """What was searched for: the question, and what it was expanded to; content."""
    if not captures_content():
        return {}
    others = [query for query in expanded if query != asked]
    return {RETRIEVAL_QUERY: asked} | ({STEP_QUERIES: [asked, *others]} if others else {})


def documents(found: Iterable[Mapping[str, Any]]) -> Attributes:
    """Documents by `id` and `score`; what else they carry (`content`, `source`) is left out unless captured."""
    kept = captures_content()
    return {
        RETRIEVAL_DOCUMENTS: [
            {"id": str(one["id"]), "score": float(one["score"])}
            | ({name: value for name, value in one.items() if name not in {"id", "score"}} if kept else {})
            for one in found
        ]
    }


def address(url: str) -> Attributes:
    """`server.address` and `server.port` of a URL; nothing of one that is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return {}
    found: Attributes = {SERVER_ADDRESS: parts.hostname, SERVER_PORT: port}
    return {name: value for name, value in found.items() if value is not None} if parts.hostname else {}
