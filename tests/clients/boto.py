"""boto3 clients whose every answer is compared with the model that botocore parsed it by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config

_PLAIN_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),  # JSON has one kind of number
    "double": (int, float),
    "timestamp": (datetime,),
}


@dataclass
class Boto:
    """One boto3 session at the local cloud, and the operations that it has had answers of.

    Attributes:
        parsed: `service:Operation` of every successful answer so far.
    """

    variables: Mapping[str, str]
    parsed: set[str] = field(default_factory=set)
    _clients: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """The client of a service: `boto.sagemaker_runtime`."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._clients:
            self._clients[name] = self._client(name.replace("_", "-"))
        return self._clients[name]

    def _client(self, service: str) -> Any:  # noqa: ANN401 - as above
        client = boto3.client(
            service,
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            region_name=self.variables["AWS_REGION"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.meta.events.register("after-call.*.*", self._check)
        return client

    def _check(self, http_response: Any, parsed: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - as above
        if http_response.status_code >= 300:
            return
        self.parsed.add(f"{model.service_model.service_name}:{model.name}")
        answer = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
        assert_shape(answer, model.output_shape, model.name)
        if model.service_model.metadata["protocol"] == "json" and http_response.content:
            assert_nothing_lost(json.loads(http_response.content), answer, model.name)


def assert_shape(value: Any, shape: Any, path: str) -> None:  # noqa: ANN401 - a parsed document and botocore's shape
    """Every required member is there, and each value has its type and is one of its enum."""
    if shape is None or getattr(shape, "serialization", {}).get("eventstream"):
        return
    if shape.type_name == "structure":
        assert isinstance(value, dict), path
        missing = set(shape.required_members) - value.keys()
        assert not missing, f"{path}: {missing} missing"
        for name, item in value.items():
            if name in shape.members and name != getattr(shape, "payload", None):
                assert_shape(item, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for number, item in enumerate(value):
            assert_shape(item, shape.member, f"{path}[{number}]")
    elif shape.type_name == "map":
        for name, item in value.items():
            assert_shape(item, shape.value, f"{path}[{name}]")
    elif shape.type_name in _PLAIN_TYPES and not isinstance(value, list):
        assert isinstance(value, _PLAIN_TYPES[shape.type_name]), f"{path}: {value!r} is no {shape.type_name}"
        assert not getattr(shape, "enum", None) or value in shape.enum, f"{path}: {value!r} is none of {shape.enum}"


def assert_nothing_lost(sent: Any, parsed: Any, path: str) -> None:  # noqa: ANN401 - JSON documents
    """The parser drops members that its model does not have; there are none."""
    if isinstance(sent, dict) and isinstance(parsed, dict):
        assert sent.keys() == parsed.keys(), f"{path}: {sent.keys() ^ parsed.keys()}"
        for name in sent:
            assert_nothing_lost(sent[name], parsed[name], f"{path}.{name}")
    elif isinstance(sent, list):
        for number, (one, other) in enumerate(zip(sent, parsed, strict=True)):
            assert_nothing_lost(one, other, f"{path}[{number}]")
