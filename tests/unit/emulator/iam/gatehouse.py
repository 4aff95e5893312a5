"""A cloud in memory that checks signatures and permissions, asked with requests that are signed by hand."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_deploy.emulator import autoscaling, cloudwatch, logs, quotas
from llm_deploy.emulator.app import App
from llm_deploy.emulator.clock import ManualClock
from llm_deploy.emulator.iam.identity import Record
from llm_deploy.emulator.iam.install import install as install_iam
from llm_deploy.emulator.iam.signature import ALGORITHM, Signature, Signed, sign, stamp_of
from llm_deploy.emulator.sagemaker.install import install as install_sagemaker
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.settings import ROOT_ACCESS_KEY, ROOT_SECRET_KEY, CloudSettings
from llm_deploy.emulator.store import Store
from tests.unit.emulator.world import FakeLauncher

ACCOUNT, REGION = "000000000000", "eu-central-1"
TARGETS = {
    "sagemaker": ("SageMaker", "sagemaker"),
    "autoscaling": ("AnyScaleFrontendService", "application-autoscaling"),
    "cloudwatch": ("GraniteServiceVersion20100801", "monitoring"),
    "logs": ("Logs_20140328", "logs"),
}
ROOT = (ROOT_ACCESS_KEY, ROOT_SECRET_KEY)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def code(self) -> str:
        """AWS's error code; empty for a success."""
        return str(self.document.get("__type", ""))


@dataclass
class Gatehouse:
    """The cloud, and the IAM that it was given.

    Attributes:
        users: Policies by the name of a user, whose access key is `AKIA<name>` and whose secret is `secret`.
    """

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_767_225_600.0))
    records: dict[str, dict[str, Record]] = field(
        default_factory=lambda: {"users": {}, "roles": {}, "keys": {}, "sessions": {}}
    )

    def __post_init__(self) -> None:
        settings = CloudSettings(state_dir=self.folder)
        self.cloud = Cloud(settings, self.clock, Store(None), random.Random(1))  # noqa: S311 - ids, nothing secret
        self.cloud.own_key = "own"
        self.cloud.hooks.iam_records = self.fetch
        for service in (logs, cloudwatch, quotas, autoscaling):
            service.install(self.cloud)
        install_sagemaker(self.cloud, launcher=FakeLauncher())
        install_iam(self.cloud)

    async def fetch(self) -> dict[str, Any]:
        """What the backend would say."""
        return self.records

    def user(self, name: str, *statements: dict[str, Any], boundary: dict[str, Any] | None = None) -> tuple[str, str]:
        """A user with these statements; its access key and secret. Before the first request."""
        self.records["users"][name] = {
            "name": name,
            "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
            "id": f"AIDA{name}",
            "policies": [document(*statements)],
            "boundary": None if boundary is None else document(boundary),
            "tags": {"team": "a"},
        }
        key = f"AKIA{name}"
        self.records["keys"][key] = {"secret": "secret", "user": name, "active": True}
        return key, "secret"

    def role(self, name: str, *statements: dict[str, Any], trust: dict[str, Any] | None = None) -> str:
        """A role with these statements, which trusts SageMaker unless something else is said; its ARN."""
        trusted = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        self.records["roles"][name] = {
            "name": name,
            "arn": arn,
            "id": f"AROA{name}",
            "policies": [document(*statements)],
            "boundary": None,
            "tags": {},
            "trust": document(trust or trusted),
        }
        return arn

    def session(
        self, role: str, *, expires_in_s: float = 3600, policy: dict[str, Any] | None = None
    ) -> tuple[str, str, str]:
        """Temporary credentials of a role: key, secret and token."""
        key = f"ASIA{len(self.records['sessions'])}"
        self.records["sessions"][key] = {
            "secret": "secret",
            "token": "token",
            "expires_at": self.clock.now() + expires_in_s,
            "issued_at": self.clock.now(),
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/me",
            "user_id": f"AROA{role}:me",
            "role": role,
            "user": None,
            "policies": None if policy is None else [document(policy)],
            "tags": {},
        }
        return key, "secret", "token"

    def call(self, who: tuple[str, ...], service: str, operation: str, **params: Any) -> Answer:  # noqa: ANN401 - JSON
        """Call an operation of a JSON service."""
        prefix, name = TARGETS[service]
        headers = {"x-amz-target": f"{prefix}.{operation}"}
        return self.ask(who, name, body=json.dumps(params).encode(), headers=headers)

    def ask(
        self,
        who: tuple[str, ...] | None,
        service: str,
        *,
        path: str = "/",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        signed_at: float | None = None,
        sent_body: bytes | None = None,
    ) -> Answer:
        """One request, signed now unless another moment is given; by nobody when `who` is `None`.

        `sent_body` is sent instead of the body that was signed.
        """
        sent = {"host": "127.0.0.1", "x-amz-date": stamp_of(signed_at or self.clock.now()), **(headers or {})}
        if who is not None:
            sent |= {"x-amz-security-token": who[2]} if len(who) > 2 else {}
            sent["authorization"] = _authorization(who, service, path, body, sent)
        return asyncio.run(self._ask(path, body if sent_body is None else sent_body, sent))

    async def _ask(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        requests = [{"type": "http.request", "body": body, "more_body": False}]
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            return requests.pop(0)

        async def send(message: Any) -> None:  # noqa: ANN401 - an ASGI message
            answers.append(message)

        await App(self.cloud)(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
        return Answer(answers[0]["status"], found, answers[1]["body"])

    def log(self) -> list[tuple[str, str, str, bool]]:
        """What was decided: principal, action, resource, whether it was allowed."""
        entries = self.cloud.local["GET", "/_local/authorizations"]()["authorizations"]
        return [(each["principal"], each["action"], each["resource"], each["allowed"]) for each in entries]


def document(*statements: dict[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, resource: str = "*", when: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A statement that allows actions; `when` is its Condition."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, "Condition": dict(when or {})}


def _authorization(who: tuple[str, ...], service: str, path: str, body: bytes, headers: Mapping[str, str]) -> str:
    stamp = headers["x-amz-date"]
    names = tuple(sorted(headers))
    made = Signature(who[0], stamp[:8], REGION, service, stamp, names, "", None)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    value = sign(made, Signed("POST", path, "", raw, hashlib.sha256(body).hexdigest()), who[1])
    scope = f"{who[0]}/{stamp[:8]}/{REGION}/{service}/aws4_request"
    return f"{ALGORITHM} Credential={scope}, SignedHeaders={';'.join(names)}, Signature={value}"
