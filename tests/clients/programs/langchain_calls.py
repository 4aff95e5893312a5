"""LangChain's two SageMaker classes against the endpoint `twin`.

Usage: langchain_calls.py COMPONENT|"". The last line is what was observed, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from langchain_aws.chat_models.sagemaker_endpoint import ChatModelContentHandler, ChatSagemakerEndpoint
from langchain_aws.llms.sagemaker_endpoint import LLMContentHandler, SagemakerEndpoint
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage

PARAMETERS = {"max_new_tokens": 24, "temperature": 0.01, "seed": 7}


def events(chunk: bytes) -> Iterator[Any]:
    """The documents in what LangChain's line iterator hands on."""
    for line in chunk.decode().splitlines():
        data = line.strip().removeprefix("data:").strip()
        if data and data != "[DONE]":
            yield json.loads(data)


class Text(LLMContentHandler):  # type: ignore[misc] # the base class has no types here
    """TGI's text generation."""

    content_type = "application/json"
    accepts = "application/json"

    def transform_input(self, prompt: str, model_kwargs: dict[str, Any]) -> bytes:
        """A prompt as TGI wants it; LangChain's streams are asked for in the body as well."""
        parameters = {key: value for key, value in model_kwargs.items() if key != "stream"}
        body = {"inputs": prompt, "parameters": parameters, "stream": bool(model_kwargs.get("stream"))}
        return json.dumps(body).encode()

    def transform_output(self, output: Any) -> str:  # noqa: ANN401 - bytes of a stream, or botocore's streaming body
        """The text of a whole answer, or of one piece."""
        if isinstance(output, bytes):
            return "".join(event["token"]["text"] for event in events(output))
        return str(json.load(output)[0]["generated_text"])


class Chat(ChatModelContentHandler):  # type: ignore[misc] # as above
    """The OpenAI shape that TGI speaks as well."""

    content_type = "application/json"
    accepts = "application/json"

    def transform_input(self, prompt: Any, model_kwargs: dict[str, Any]) -> bytes:  # noqa: ANN401 - LangChain's messages
        """Messages as chat completions want them; LangChain hands them over as documents."""
        return json.dumps(
            {"messages": prompt, "max_tokens": 24, "temperature": 0.01, "seed": 7, **model_kwargs}
        ).encode()

    def transform_output(self, output: Any) -> BaseMessage:  # noqa: ANN401 - as above
        """A message, or a piece of one."""
        if isinstance(output, bytes):
            deltas = [choice["delta"] for event in events(output) for choice in event["choices"]]
            return AIMessageChunk(content="".join(delta.get("content") or "" for delta in deltas))
        return AIMessage(content=json.load(output)["choices"][0]["message"]["content"])


def main(component: str) -> dict[str, Any]:
    """Ask four times; what was seen."""
    where: dict[str, Any] = {"endpoint_name": "twin", "region_name": os.environ["AWS_REGION"]}
    if component:
        where["inference_component_name"] = component
    prompt, question = "The capital of France is", [HumanMessage("What is the capital of France?")]
    whole = SagemakerEndpoint(**where, content_handler=Text(), model_kwargs=PARAMETERS)
    stream_kwargs = {**PARAMETERS, "stream": True}
    pieces = SagemakerEndpoint(**where, content_handler=Text(), model_kwargs=stream_kwargs, streaming=True)
    chat = ChatSagemakerEndpoint(**where, content_handler=Chat())
    chat_pieces = ChatSagemakerEndpoint(**where, content_handler=Chat(), model_kwargs={"stream": True}, streaming=True)
    return {
        "text": whole.invoke(prompt),
        "pieces": list(pieces.stream(prompt)),
        "chat": chat.invoke(question).content,
        "chat_pieces": [piece.content for piece in chat_pieces.stream(question)],
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(sys.argv[1])) + "\n")
