"""schemathesis, which writes requests from the gateway's own OpenAPI document, right ones and wrong ones."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments, gateways
from tests.clients.conftest import Runner
from tests.conftest import Terminal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("client-schemathesis"),
    pytest.mark.row("T6"),
]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture
def endpoint_type() -> str:
    """One type is enough here."""
    return "model"


@pytest.mark.usefixtures("twin")
def test_no_body_breaks_the_gateway(foreign: Runner, local_cloud: Terminal, tmp_path: Path) -> None:
    """Whatever is sent, no answer is a server's error, and each is of a status, type and shape that is documented.

    The seed is fixed and the number of examples bounded, so that a failure can be seen again.
    """
    with gateways.gateway(local_cloud, tmp_path) as served:
        document = tmp_path / "openapi.json"
        document.write_text(json.dumps(narrowed(fetched(f"{served.url}/openapi.json", served.keys["KEY"]))))
        command = environments.python("schemathesis").with_name("st")
        options = ["--max-examples", "10", "--seed", "1", "--workers", "1", "--checks", CHECKS, "--no-color"]
        header = ["--header", f"Authorization: Bearer {served.keys['KEY']}"]
        done = foreign(command).run("run", str(document), "--url", served.url, *options, *header, code=None)
    assert done.code == 0, done.out[-6000:]
    assert "Missing test data" not in done.out, done.out[-6000:]


def fetched(url: str, key: str) -> Any:  # noqa: ANN401 - a JSON document
    request = urllib.request.Request(url, headers=gateways.headers(key))  # noqa: S310 - 127.0.0.1
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        return json.load(answer)


def narrowed(document: Any) -> Any:  # noqa: ANN401 - as above
    """The document with models that are there (and one that is not), and answers of a few tokens.

    Else hardly a request would get as far as a model. The model whose backend is gone is left out: its 503 is right.
    """
    if isinstance(document, list):
        return [narrowed(each) for each in document]
    if not isinstance(document, dict):
        return document
    found = {name: narrowed(value) for name, value in document.items()}
    properties = found.get("properties")
    if isinstance(properties, dict):
        for name in properties.keys() & {"max_tokens", "max_completion_tokens", "max_new_tokens"}:
            properties[name] = {"type": "integer", "minimum": 1, "maximum": 4}
        if "model" in properties and properties.keys() & {"messages", "prompt", "input", "inputs"}:
            properties["model"] = {"type": "string", "enum": ["minilm" if "input" in properties else "twin", "nobody"]}
    return found
