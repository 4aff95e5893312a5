"""The gateway's models as `/rag` asks them."""

from __future__ import annotations

import asyncio

import pytest

from llm_deploy.errors import BackendError, UnreachableError
from llm_deploy.gateway import config as documents
from llm_deploy.gateway.backends import Backend, single_lane
from llm_deploy.gateway.model_inference import ModelTransport
from llm_deploy.gateway.routing import ServedModel
from tests.fakes.gateways import chat
from tests.fakes.transports import FakeTransport

SETTINGS = documents.Model(backends=(documents.Backend(url="http://fake"),))


@pytest.mark.parametrize("way", ["call", "stream"])
def test_a_backend_that_is_away_is_said_as_for_chats(way: str) -> None:
    """503, not 500: the caller hears that the model cannot be used, and the place is free again."""
    failing = FakeTransport(failure=UnreachableError("no connection to 10.0.0.7"))
    model = ServedModel("m", SETTINGS, [Backend("b", single_lane(failing, "openai"))])
    with pytest.raises(BackendError, match="backend of model m"):
        asyncio.run(getattr(ModelTransport(model), way)(chat()))
    assert model.in_flight == 0
