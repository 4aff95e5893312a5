"""OpenAI's Python client: on SageMaker's own OpenAI path with a bearer token, and asking our server for embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_deploy.serving import models
from tests.clients.conftest import Runner, python_program
from tests.functional.local.test_data_path import token
from tests.functional.serving.servers import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("client-openai")]


@pytest.mark.row("T5")
def test_it_chats_with_a_bearer_token(foreign: Runner, twin: str, pointed_at_it: dict[str, str]) -> None:
    """Whole and streamed are the same text; refusals arrive as the client's own exceptions."""
    keys = {name.lower(): pointed_at_it[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    component = f"/inference-components/{twin}" if twin else ""
    url = f"{pointed_at_it['AWS_ENDPOINT_URL']}/endpoints/twin{component}/openai/v1"
    key = token(keys, region=pointed_at_it["AWS_REGION"])
    seen: dict[str, Any] = python_program(foreign, "openai", "openai_native_calls.py", "chat", url, key)
    assert seen["whole"]
    assert "".join(seen["pieces"]) == seen["whole"]
    assert len(seen["pieces"]) > 4
    assert seen["tokens"] == 8
    assert seen["bad"][:2] == ["BadRequestError", 400]
    assert "temperature must be non-negative" in seen["bad"][2]
    assert seen["stranger"][:2] == ["PermissionDeniedError", 403]
    assert seen["elsewhere"][:2] == ["NotFoundError", 404]


@pytest.mark.row("T7")
def test_it_embeds(foreign: Runner, tmp_path: Path) -> None:
    """Vectors in base64, which it asks for by itself, and refusals of what the model cannot."""
    with running(models.pull("minilm"), tmp_path, "--served-model-name", "mini") as server:
        seen: dict[str, Any] = python_program(
            foreign, "openai", "openai_native_calls.py", "embeddings", f"{server.url}/v1", "x"
        )
    assert (seen["lengths"], seen["same"], seen["models"]) == ([384, 384], True, ["mini"])
    assert seen["tokens"] > 6
    assert seen["shorter"][:2] == ["BadRequestError", 400]
    assert "384 dimensions" in seen["shorter"][2]
    assert seen["chat"][:2] == ["BadRequestError", 400]
