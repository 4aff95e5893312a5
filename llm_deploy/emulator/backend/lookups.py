"""What SageMaker asks other services before it makes a model: does the role exist and trust us, is there data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode
from xml.etree.ElementTree import Element

import httpcore

from llm_deploy.emulator.backend.bootstrap import LOCAL_AUTHORIZATION
from llm_deploy.emulator.backend.channel import QUESTION_HEADER
from llm_deploy.emulator.backend.guard import KEY_HEADER
from llm_deploy.emulator.backend.process import BackendProcess

TIMEOUT_S = 10.0
_OK, _ELSEWHERE, _NOT_FOUND, _CONFLICT = 200, 301, 404, 409


class BackendError(Exception):
    """The backend did not answer, or not in a way that can be read."""


@dataclass(frozen=True, slots=True)
class Role:
    """An IAM role, as far as SageMaker cares.

    Attributes:
        trusted_services: Service principals that may assume it, for example `sagemaker.amazonaws.com`.
    """

    arn: str
    trusted_services: frozenset[str]


class BackendLookups:
    """Questions to the backend's child. Each call is one request on a fresh or pooled loopback connection."""

    def __init__(self, process: BackendProcess) -> None:
        self._process = process
        self._pool = httpcore.AsyncConnectionPool(max_connections=8, keepalive_expiry=60.0)

    async def role_lookup(self, arn: str) -> Role | None:
        """The role of this ARN, or `None` when there is none (or the ARN names another account or no role).

        Raises:
            BackendError: The backend does not answer.
        """
        name = arn.rpartition("/")[2]
        if ":role/" not in arn:
            return None
        form = urlencode({"Version": "2010-05-08", "Action": "GetRole", "RoleName": name}).encode()
        status, body = await self._ask("POST", "/", form, service=b"iam")
        if status == _NOT_FOUND:
            return None
        role = _parse(body, status)
        if _text(role, "Arn") != arn:
            return None
        return Role(arn, _trusted_services(unquote(_text(role, "AssumeRolePolicyDocument"))))

    async def iam_records(self) -> dict[str, Any]:
        """Users, roles, access keys and sessions.

        Raises:
            BackendError: The backend does not answer.
        """
        status, body = await self._ask("GET", "/", b"", service=b"iam", more=((QUESTION_HEADER, b"iam"),))
        if status != _OK:
            raise BackendError(f"the backend answers {status}")
        records: dict[str, Any] = json.loads(body)
        return records

    async def make_service_role(self, service: str, name: str) -> None:
        """Make a role below /aws-service-role/ that a service trusts itself with, unless it is there.

        Raises:
            BackendError: The backend does not answer, or refuses.
        """
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        form = {
            "Version": "2010-05-08",
            "Action": "CreateRole",
            "RoleName": name,
            "Path": f"/aws-service-role/{service}/",
            "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        }
        status, body = await self._ask("POST", "/", urlencode(form).encode(), service=b"iam")
        if status != _CONFLICT:
            _parse(body, status)

    async def s3_has_objects(self, bucket: str, prefix: str) -> bool:
        """Whether any object's key in the bucket starts with the prefix.

        `False` when there is no such bucket, or only in another region, from where SageMaker does not load models.

        Raises:
            BackendError: The backend does not answer.
        """
        query = urlencode({"list-type": "2", "max-keys": "1", "prefix": prefix})
        status, body = await self._ask("GET", f"/{quote(bucket)}?{query}", b"", service=b"s3")
        return status not in {_NOT_FOUND, _ELSEWHERE} and int(_text(_parse(body, status), "KeyCount") or 0) > 0

    async def s3_read(self, bucket: str, key: str, limit_bytes: int) -> bytes | None:
        """An object's content; `None` when it is not there, in another region, or larger than the limit.

        Raises:
            BackendError: The backend does not answer.
        """
        target = f"/{quote(bucket)}/{quote(key)}"
        length = await self._length(target)
        if length is None or length > limit_bytes:
            return None
        status, body = await self._ask("GET", target, b"", service=b"s3")
        return body if status == _OK else None

    async def _length(self, target: str) -> int | None:
        response = await self._response("HEAD", target, b"", service=b"s3")
        found = [value for name, value in response.headers if name.lower() == b"content-length"]
        return int(found[0]) if response.status == _OK and found else None

    async def s3_write(self, bucket: str, key: str, body: bytes, content_type: str) -> bool:
        """Write an object; says whether there is such a bucket here.

        Raises:
            BackendError: The backend does not answer.
        """
        target = f"/{quote(bucket)}/{quote(key)}"
        kind = content_type.encode("latin-1", "replace")
        status, _ = await self._ask("PUT", target, body, service=b"s3", content_type=kind)
        return status == _OK

    async def sns_publish(self, topic: str, message: str) -> bool:
        """Publish a message; says whether there is such a topic.

        Raises:
            BackendError: The backend does not answer.
        """
        form = urlencode({"Version": "2010-03-31", "Action": "Publish", "TopicArn": topic, "Message": message})
        status, _ = await self._ask("POST", "/", form.encode(), service=b"sns")
        return status == _OK

    async def aclose(self) -> None:
        """Close the idle connections."""
        await self._pool.aclose()

    async def _ask(
        self,
        method: str,
        target: str,
        body: bytes,
        *,
        service: bytes,
        content_type: bytes = b"application/x-www-form-urlencoded",
        more: Iterable[tuple[bytes, bytes]] = (),
    ) -> tuple[int, bytes]:
        headers = [(b"content-type", content_type), *more]
        response = await self._response(method, target, body, service=service, more=headers)
        return response.status, response.content

    async def _response(
        self, method: str, target: str, body: bytes, *, service: bytes, more: Iterable[tuple[bytes, bytes]] = ()
    ) -> httpcore.Response:
        if self._process.failure is not None:
            raise BackendError(self._process.failure)
        host, port = self._process.address
        headers = [
            (b"host", b"127.0.0.1"),
            (KEY_HEADER, self._process.key),
            (b"authorization", LOCAL_AUTHORIZATION % (self._process.settings.region.encode(), service)),
            (b"content-length", str(len(body)).encode()),
            *more,
        ]
        url = httpcore.URL(scheme=b"http", host=host.encode(), port=port, target=target.encode())
        timeouts = {"connect": TIMEOUT_S, "read": TIMEOUT_S, "write": TIMEOUT_S, "pool": TIMEOUT_S}
        try:
            return await self._pool.request(
                method, url, headers=headers, content=body, extensions={"timeout": timeouts}
            )
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise BackendError(self._process.failure or f"the backend does not answer: {error!r}") from error


def _parse(body: bytes, status: int) -> Element:
    from defusedxml.ElementTree import ParseError, fromstring  # noqa: PLC0415 - not at the cloud's start

    try:
        document: Element = fromstring(body)
    except ParseError as error:
        raise BackendError(f"the backend's answer (status {status}) is no XML") from error
    if status != _OK:
        raise BackendError(f"the backend answers {status}: {_text(document, 'Message')}")
    return document


def _text(document: Element, tag: str) -> str:
    """Text of the first element of this name, whatever its namespace."""
    for element in document.iter():
        if element.tag.rpartition("}")[2] == tag:
            return element.text or ""
    return ""


def _trusted_services(document: str) -> frozenset[str]:
    try:
        statements = _as_list(json.loads(document).get("Statement", []))
    except (ValueError, AttributeError):
        return frozenset()  # the backend stores any text; what cannot be read trusts nobody
    return frozenset(name for statement in statements for name in _services_of(statement))


def _services_of(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal", {})
    allows = statement.get("Effect") == "Allow" and "sts:AssumeRole" in _as_list(statement.get("Action", []))
    if not allows or not isinstance(principal, dict):
        return []
    return [str(name) for name in _as_list(principal.get("Service", []))]


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 - a policy may hold one or many everywhere
    return value if isinstance(value, list) else [value]
