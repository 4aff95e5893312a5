"""A LangChain chat model over the clients of this package: `ChatLlmDeploy`. Needs the extra `langchain`.

Nothing else here imports it, so that LangChain is loaded by those who use it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

try:
    from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
    from langchain_core.messages import (
        AIMessage,
        AIMessageChunk,
        BaseMessage,
        InvalidToolCall,
        convert_to_openai_messages,
    )
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.messages.tool import (
        ToolCall as MessageToolCall,
        ToolCallChunk,
        invalid_tool_call,
        tool_call,
        tool_call_chunk,
    )
    from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
    from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
    from langchain_core.utils.pydantic import is_basemodel_subclass
except ImportError as missing:
    from llm_deploy.errors import MissingExtraError

    raise MissingExtraError("LangChain is not installed", hint="pip install 'llm-deploy[langchain]'") from missing

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from llm_deploy.client import connect
from llm_deploy.client.chat import chat_request
from llm_deploy.client.model import Model
from llm_deploy.client.model_async import AsyncModel
from llm_deploy.client.sagemaker_target import Via
from llm_deploy.dialects.names import DialectName
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest, TokenCounts, ToolCall
from llm_deploy.errors import InferenceRequestError

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.tools import BaseTool

_STOP = {"eos": "stop"}
"""The conventions of LangChain's tools follow OpenAI's words for why an answer ended."""


class ChatLlmDeploy(BaseChatModel):
    """A model behind an endpoint's name or a URL, as LangChain's chat model.

    Attributes:
        target: An endpoint of SageMaker or of the local cloud by its name, or a URL; see `llm_deploy.client.connect`.
        model: Named in requests to servers of several models.
        max_tokens, temperature, top_p, seed, stop: Go before the target's own defaults.
        parameters: Others, in TGI's or our names, for example `{"repetition_penalty": 1.1}`.
        timeout_s: Most seconds for a whole answer.
        session: An `llm_deploy.aws.Session` or a `boto3.Session` for names; from the environment otherwise.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

    target: str
    model: str | None = None
    inference_component_name: str | None = None
    dialect: DialectName = "auto"
    via: Via = "auto"
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    region: str | None = None
    session: Any = Field(default=None, exclude=True, repr=False)
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    parameters: dict[str, Any] = Field(default_factory=dict)
    timeout_s: float | None = Field(default=None, alias="timeout")
    wait_for_capacity_s: float = 0.0

    _model: Model | None = PrivateAttr(default=None)
    _async_model: AsyncModel | None = PrivateAttr(default=None)

    @property
    def _llm_type(self) -> str:
        return "llm-deploy"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"target": self.target, "model": self.model, **self._parameters(None)}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:  # noqa: ANN401 - LangChain's signature
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "llm-deploy"
        params["ls_model_name"] = kwargs.get("model") or self.model or self.target
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain's signature
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> ChatResult:
        model = self._connected()
        return self._result(model.generate(self._request(model.defaults(), messages, stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - as above
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> ChatResult:
        model = self._async_connected()
        return self._result(await model.generate(self._request(await model.defaults(), messages, stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> Iterator[ChatGenerationChunk]:
        model = self._connected()
        with closing(model.stream(self._request(model.defaults(), messages, stop, kwargs))) as chunks:
            for chunk in chunks:
                piece = self._piece(chunk)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=piece)
                yield piece

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> AsyncIterator[ChatGenerationChunk]:
        model = self._async_connected()
        request = self._request(await model.defaults(), messages, stop, kwargs)
        async with aclosing(model.stream(request)) as chunks:
            async for chunk in chunks:
                piece = self._piece(chunk)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=piece)
                yield piece

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call these tools.

        `tool_choice` is `auto`, `none`, `any` (or `required`, or true), a tool's name, or OpenAI's document.
        """
        documents = [convert_to_openai_tool(tool) for tool in tools]
        names = {document["function"]["name"] for document in documents}
        return self.bind(tools=documents, tool_choice=_choice(tool_choice, names), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Literal["json_schema", "function_calling"] = "json_schema",
        include_raw: bool = False,
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """A model whose answers are objects of a schema: it binds the engine, or (`function_calling`) is a tool."""
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        schema = _titled(schema)
        document, parser = _schema(schema)
        bound = self.bind(
            json_schema=document,
            ls_structured_output_format={"kwargs": {"method": "json_schema"}, "schema": convert_to_json_schema(schema)},
            **kwargs,
        )
        if not include_raw:
            return bound | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def close(self) -> None:
        """Close the connections of threads; those of an event loop go with it, or with `aclose` on it."""
        if self._model is not None:
            self._model.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        if self._async_model is not None:
            await self._async_model.aclose()

    def _connected(self) -> Model:
        if self._model is None:
            self._model = connect.open(self.target, **self._options())
        return self._model

    def _async_connected(self) -> AsyncModel:
        if self._async_model is None:
            self._async_model = connect.open_async(self.target, **self._options())
        return self._async_model

    def _options(self) -> dict[str, Any]:
        return {
            "inference_component_name": self.inference_component_name,
            "dialect": self.dialect,
            "session": self.session,
            "region": self.region,
            "headers": {name: value.get_secret_value() for name, value in self.headers.items()},
            "api_key": self.api_key.get_secret_value() if self.api_key else None,
            "model": self.model,
            "answer_timeout_s": self.timeout_s,
            "wait_for_capacity_s": self.wait_for_capacity_s,
            "via": self.via,
        }

    def _parameters(self, stop: list[str] | None) -> dict[str, Any]:
        given = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": stop or self.stop,
        }
        return self.parameters | {name: value for name, value in given.items() if value is not None}

    def _request(
        self, default: GenerationRequest, messages: list[BaseMessage], stop: list[str] | None, given: Mapping[str, Any]
    ) -> GenerationRequest:
        listed = convert_to_openai_messages(messages)
        asked = {name: value for name, value in given.items() if name in _OF_A_CHAT}
        parameters = {name: value for name, value in given.items() if name not in _OF_A_CHAT and value is not None}
        parameters.pop("ls_structured_output_format", None)
        return chat_request(
            default,
            [listed] if isinstance(listed, dict) else listed,
            parameters={**self._parameters(stop), **parameters},
            **asked,
        )

    def _result(self, answer: Generation) -> ChatResult:
        calls, refused = _calls(answer.tool_calls)
        message = AIMessage(
            content=answer.text,
            tool_calls=calls,
            invalid_tool_calls=refused,
            usage_metadata=_usage(answer.counts),
            response_metadata=self._metadata(answer.finish_reason),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _piece(self, chunk: Chunk) -> ChatGenerationChunk:
        message = AIMessageChunk(
            content=chunk.text,
            tool_call_chunks=[_call_chunk(delta) for delta in chunk.tool_calls],
            usage_metadata=_usage(chunk.counts),
            response_metadata=self._metadata(chunk.finish_reason) if chunk.finish_reason else {},
        )
        return ChatGenerationChunk(message=message)

    def _metadata(self, reason: str) -> dict[str, Any]:
        return {
            "finish_reason": _STOP.get(reason, reason),
            "model_name": self.model or self.target,
            "model_provider": "llm-deploy",
        }


def _titled(schema: dict[str, Any] | type) -> dict[str, Any] | type:
    """LangChain takes documents with a title only, since it may make functions of them."""
    if isinstance(schema, dict) and not {"title", "name", "function"} & schema.keys():
        return {"title": "answer", **schema}
    return schema


def _schema(schema: dict[str, Any] | type) -> tuple[dict[str, Any], Runnable[Any, Any]]:
    """What the engine is bound to, and what reads its answer."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):  # of either major version of pydantic
        return convert_to_json_schema(schema, strict=True), PydanticOutputParser(pydantic_object=schema)
    return convert_to_json_schema(schema, strict=True), JsonOutputParser()


_OF_A_CHAT = frozenset({"tools", "tool_choice", "json_schema", "regex"})


def _choice(choice: dict[str, Any] | str | bool | None, names: set[str]) -> dict[str, Any] | str | None:  # noqa: FBT001 - LangChain's values
    if choice is True or choice == "any":
        return "required"
    if choice is False:
        return None
    if isinstance(choice, str) and choice not in {"auto", "none", "required"}:
        if choice not in names:
            raise InferenceRequestError(f"there is no tool {choice!r} among {', '.join(sorted(names))}")
        return {"type": "function", "function": {"name": choice}}
    return choice


def _calls(calls: Sequence[ToolCall]) -> tuple[list[MessageToolCall], list[InvalidToolCall]]:
    """Calls whose arguments are a JSON object, and the others with what is wrong."""
    good, bad = [], []
    for call in calls:
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError as error:
            arguments, wrong = None, f"the arguments are no JSON: {error}"
        else:
            wrong = "the arguments are no JSON object"
        if isinstance(arguments, dict):
            good.append(tool_call(name=call.name, args=arguments, id=call.id or None))
        else:
            bad.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id or None, error=wrong))
    return good, bad


def _call_chunk(delta: Mapping[str, Any]) -> ToolCallChunk:
    function = delta.get("function") or {}
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str | None) else json.dumps(arguments)
    return tool_call_chunk(name=function.get("name"), args=text, id=delta.get("id"), index=delta.get("index", 0))


def _usage(counts: TokenCounts | None) -> UsageMetadata | None:
    if counts is None or (counts.prompt is None and counts.generated is None):
        return None
    prompt, generated = counts.prompt or 0, counts.generated or 0
    return UsageMetadata(input_tokens=prompt, output_tokens=generated, total_tokens=prompt + generated)
