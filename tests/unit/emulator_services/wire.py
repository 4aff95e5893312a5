"""A cloud in memory with the services beside SageMaker, asked through its wire protocol."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from llm_deploy.emulator import autoscaling, cloudwatch, logs, quotas
from llm_deploy.emulator.app import App
from llm_deploy.emulator.clock import ManualClock
from llm_deploy.emulator.sagemaker.hosting import COMPONENT, ENDPOINT
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.settings import CloudSettings
from llm_deploy.emulator.store import Store

TARGETS = {
    "autoscaling": "AnyScaleFrontendService",
    "cloudwatch": "GraniteServiceVersion20100801",
    "logs": "Logs_20140328",
    "quotas": "ServiceQuotasV20190624",
}


class RefusedError(Exception):
    """The cloud's refusal, as a client would raise it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


@dataclass
class Wire:
    """One cloud in memory."""

    cloud: Cloud
    clock: ManualClock

    def call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Ask in JSON.

        Raises:
            RefusedError: The cloud refused.
        """
        target = f"{TARGETS[service]}.{operation}"
        status, body = self.ask(json.dumps(params).encode(), {"x-amz-target": target})
        document: dict[str, Any] = json.loads(body)
        if status != 200:
            raise RefusedError(status, document["__type"], document["message"])
        return document

    def form(self, service: str, **fields: str) -> tuple[int, str]:
        """Ask in the query protocol; status and XML."""
        credential = f"AWS4-HMAC-SHA256 Credential=X/20260101/eu-central-1/{service}/aws4_request, Signature=0"
        status, body = self.ask(urlencode(fields).encode(), {"authorization": credential})
        return status, body.decode()

    def ask(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """One HTTP request without a network."""
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        requests = [{"type": "http.request", "body": body, "more_body": False}]
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            return requests.pop(0)

        async def send(message: Any) -> None:  # noqa: ANN401 - an ASGI message
            answers.append(message)

        asyncio.run(App(self.cloud)(scope, receive, send))
        return answers[0]["status"], answers[1]["body"]

    def endpoint(self, name: str, variant: str = "AllTraffic") -> None:
        """An endpoint as SageMaker would hold it, as far as others look at it."""
        document = {"EndpointName": name, "EndpointConfigName": name, "variants": [{"VariantName": variant}]}
        self.cloud.store.put(ENDPOINT, name.lower(), document)

    def component(self, name: str) -> None:
        """An inference component, likewise."""
        self.cloud.store.put(COMPONENT, name, {"InferenceComponentName": name})


def new_wire(folder: Path, store: Store | None = None) -> Wire:
    """A cloud whose clock stands still."""
    clock = ManualClock()
    cloud = Cloud(CloudSettings(state_dir=folder), clock, store or Store(None), random.Random(1))  # noqa: S311 - ids, nothing secret
    for service in (logs, cloudwatch, quotas, autoscaling):
        service.install(cloud)
    return Wire(cloud, clock)
