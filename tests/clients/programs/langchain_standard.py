"""LangChain's own standard tests of chat models, over ours, at the address in LLMDEPLOY_TEST_URL."""

from __future__ import annotations

import os
from typing import Any

from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests

from llm_deploy.client.langchain import ChatLlmDeploy


class TestUnit(ChatModelUnitTests):  # type: ignore[misc]  # of an environment of its own
    """What needs no model."""

    @property
    def chat_model_class(self) -> type[ChatLlmDeploy]:
        """Ours."""
        return ChatLlmDeploy

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """How it is made."""
        return {"target": "http://127.0.0.1:9/v1", "model": "tiny"}


class TestIntegration(ChatModelIntegrationTests):  # type: ignore[misc]  # of an environment of its own
    """What needs one; the stand-in's template has no tools."""

    @property
    def chat_model_class(self) -> type[ChatLlmDeploy]:
        """Ours."""
        return ChatLlmDeploy

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """How it is made."""
        return {
            "target": os.environ["LLMDEPLOY_TEST_URL"],
            "model": "tiny",
            "temperature": 0,
            "max_tokens": 200,
            "parameters": {"repetition_penalty": 1.2},  # it is small, and likes to say a thing twice
        }

    @property
    def has_tool_calling(self) -> bool:
        """The stand-in's template has none."""
        return False

    @property
    def has_structured_output(self) -> bool:
        """By binding the engine."""
        return True
