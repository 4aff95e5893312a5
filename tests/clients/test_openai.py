"""The official clients of OpenAI, Python and Node, against the gateway and the proxy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments, gateways
from tests.clients.conftest import Foreign, Runner
from tests.clients.gateways import Served
from tests.conftest import Terminal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("client-openai"),
    pytest.mark.row("T6"),
]
Report = Mapping[str, Any]


@pytest.fixture
def endpoint_type() -> str:
    """One type is enough here."""
    return "inference-component"


@pytest.fixture(params=["python", "node"])
def program(request: pytest.FixtureRequest, foreign: Runner) -> Foreign:
    """The official client in one of the two languages."""
    if request.param == "python":
        return foreign(environments.python("openai"), environments.HERE / "programs" / "openai_calls.py")
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node 20 or newer, and npm")
    runner = foreign("node", environments.HERE / "javascript" / "openai.cjs")
    return replace(runner, environment={**runner.environment, "NODE_PATH": str(environments.node_modules())})


@pytest.fixture
def gateway(local_cloud: Terminal, twin: str, tmp_path: Path) -> Iterator[Served]:  # noqa: ARG001 - what is deployed
    """A gateway over a deployment."""
    with gateways.gateway(local_cloud, tmp_path) as served:
        yield served


def observed(program: Foreign, served: Served) -> Report:
    """What the client saw."""
    report: Report = replace(program, environment={**program.environment, **served.keys}).report(f"{served.url}/v1")
    return report


def test_the_gateway_is_openais_api(program: Foreign, gateway: Served) -> None:
    """Models, chats, completions and vectors, whole and streamed; every refusal has its class, code and request id."""
    seen = observed(program, gateway)
    assert seen["models"] == ["gone", "minilm", "twin"]
    assert_answers(seen)
    assert_vectors(seen["embeddings"])
    assert_common_refusals(seen["refusals"])
    assert_key_refusals(seen["refusals"])


def test_the_proxy_is_openais_api(program: Foreign, local_cloud: Terminal, twin: str) -> None:  # noqa: ARG001 - as above
    """The same of one endpoint, without keys."""
    with gateways.running(local_cloud, "proxy", "twin", "--port", "0") as served:
        seen = observed(program, served)
    assert seen["models"] == ["twin"]
    assert_answers(seen)
    assert_common_refusals(seen["refusals"])


def assert_answers(seen: Report) -> None:
    """Streams are the whole answer in pieces, which come while it is made; counts add up; leaving frees the slot."""
    chat, completion = seen["chat"], seen["completion"]
    assert seen["model"] == chat["model"] == "twin"
    assert chat["role"] == "assistant"
    assert chat["text"]
    assert chat["streamed"] == chat["text"]
    assert chat["pieces"] > 5
    assert chat["spread_ms"] > 20
    assert chat["finish"] == chat["streamed_finish"]
    assert chat["finish"] in {"length", "stop"}
    assert chat["usage"] == chat["streamed_usage"]
    assert chat["usage"][2] == chat["usage"][0] + chat["usage"][1]
    assert completion["text"].startswith(" Paris")
    assert completion["streamed"] == completion["text"]
    assert completion["pieces"] > 5
    assert completion["usage"][1] == 24
    assert seen["left"]["after"] == chat["text"]


def assert_vectors(seen: Report) -> None:
    """Both encodings say the same numbers, and the vectors mean something."""
    assert seen["dimensions"] == 384
    assert seen["largest_difference"] < 1e-6
    assert seen["near"] > seen["far"] + 0.2
    assert seen["tokens"] > 6


def refused(seen: Report, name: str) -> tuple[str, int]:
    """The client's class, and the status; whatever was refused says which request it was."""
    assert seen[name]["request_id"], (name, seen[name])
    return seen[name]["class"], seen[name]["status"]


def assert_common_refusals(seen: Report) -> None:
    """What is wrong with the request itself."""
    assert refused(seen, "parameter") == ("BadRequestError", 400)
    assert "temperature" in seen["parameter"]["message"]
    assert refused(seen, "role") == ("BadRequestError", 400)
    assert refused(seen, "model") == ("NotFoundError", 404)
    assert seen["model"]["code"] == "model_not_found"
    assert seen["path"]["class"] == "NotFoundError"


def assert_key_refusals(seen: Report) -> None:
    """Who may not, who must wait, and what is not there."""
    assert refused(seen, "key") == ("AuthenticationError", 401)
    assert refused(seen, "scope") == ("PermissionDeniedError", 403)
    assert refused(seen, "rate") == ("RateLimitError", 429)
    assert 0 < int(seen["rate"]["retry_after"]) <= 60
    for name in ("backend", "streamed"):
        assert refused(seen, name) == ("InternalServerError", 503)
        assert "127.0.0.1" not in seen[name]["message"]
