"""Plugs the backend into the cloud: its services answer, and SageMaker can ask about roles and objects.

Ledger: `backend.permissive`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from llm_deploy.emulator import ledger
from llm_deploy.emulator.app import WRONG_REGION, refuse_xml
from llm_deploy.emulator.backend.channel import DECISIONS_HEADER, VERSION_HEADER
from llm_deploy.emulator.backend.lookups import BackendError, BackendLookups
from llm_deploy.emulator.backend.process import BackendProcess
from llm_deploy.emulator.backend.proxy import BackendProxy
from llm_deploy.emulator.backend.services import REGIONAL_JSON, REGIONAL_QUERY, SERVICES, BackendSettings
from llm_deploy.emulator.http import BodyTooLargeError, Request
from llm_deploy.emulator.iam.caller import Caller
from llm_deploy.emulator.service import Cloud, ServiceError, not_implemented
from llm_deploy.emulator.store import Document

SAGEMAKER = "sagemaker.amazonaws.com"
CLOUDFORMATION = "cloudformation"
MAX_FORM_BYTES = 4 * 1024 * 1024


def install(cloud: Cloud) -> None:
    """Answer IAM, STS, S3 and the others through the backend; without a backend they stay unimplemented."""
    if cloud.settings.backend_path is None:
        return
    mount = _Mount(cloud, BackendProcess(_backend_settings(cloud)))
    for name in SERVICES:
        cloud.registry.add_raw(name, mount.answer)
    cloud.registry.fallback = mount.answer_unsigned
    cloud.hooks.role_lookup = mount.role_lookup
    cloud.hooks.make_service_role = mount.make_service_role
    cloud.hooks.iam_records = mount.iam_records
    cloud.hooks.s3_has_objects = mount.s3_has_objects
    cloud.hooks.s3_read = mount.s3_read
    cloud.hooks.s3_write = mount.s3_write
    cloud.hooks.sns_publish = mount.sns_publish
    cloud.at_start.append(mount.begin)
    cloud.at_stop.append(mount.end)
    cloud.own_key = mount.process.key.decode()
    cloud.counters["backend_pid"] = lambda: mount.process.pid or 0


def _backend_settings(cloud: Cloud) -> BackendSettings:
    settings = cloud.settings
    assert settings.backend_path is not None  # noqa: S101 - the caller has looked
    return BackendSettings(
        path=settings.backend_path,
        state_dir=settings.state_dir / "backend",
        region=settings.region,
        account=settings.account,
        public_port=settings.port,
        speed=settings.speed,
        iam=settings.iam,
    )


class _Mount:
    """The running backend and the handlers that use it."""

    def __init__(self, cloud: Cloud, process: BackendProcess) -> None:
        self.cloud = cloud
        self.process = process
        self._proxy = BackendProxy(process, self._report)
        self._lookups = BackendLookups(process)

    async def begin(self) -> None:
        """Start the child and come back at once: requests that are too early wait at its socket."""
        self.process.start()

    async def end(self) -> None:
        await self._proxy.aclose()
        await self._lookups.aclose()
        await self.process.stop()

    async def answer(self, request: Request) -> None:
        """Pass a signed request on. Ledger: `local.wrong-region`."""
        scope = request.signature
        here = self.cloud.settings.region
        if scope is not None and scope.service in REGIONAL_JSON | REGIONAL_QUERY and scope.region != here:
            error = ServiceError(WRONG_REGION, ledger.text("local.wrong-region", here=here, asked=scope.region))
            if scope.service in REGIONAL_JSON:
                raise error
            await refuse_xml(request, error, wrapped=True)
            return
        if scope is not None and scope.service == CLOUDFORMATION:
            await self._check_what_is_handed(request)
        await self._pass_on(request)

    async def _check_what_is_handed(self, request: Request) -> None:
        """Of roles and tags that CloudFormation is handed the backend knows nothing.

        Ledger: `access.pass-role`, `access.tag-stacks`.
        """
        try:
            body = await request.body(MAX_FORM_BYTES)
        except BodyTooLargeError as error:
            raise ServiceError("RequestEntityTooLarge", "The request is too large.", status=413) from error
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        form |= dict(parse_qsl(request.query_string))
        params = {**form, "Tags": _tags(form)}
        self.cloud.gate.hand_over(request, CLOUDFORMATION, form.get("Action", ""), params)

    async def answer_unsigned(self, request: Request) -> None:
        """Anonymous S3 and STS calls exist; whatever is signed for a service that is not there is refused."""
        target = request.headers.get("x-amz-target")
        if request.signature is None and target is None:
            await self._pass_on(request)
            return
        service = request.signature.service if request.signature else "unsigned"
        raise not_implemented(self.cloud, f"{service}:{target or f'{request.method} {request.path}'}")

    async def iam_records(self) -> Document:
        """What IAM and STS keep."""
        try:
            return await self._lookups.iam_records()
        except BackendError as error:
            raise _internal(error) from error

    async def make_service_role(self, service: str, name: str) -> None:
        """Make the service-linked role of a service, unless it is there."""
        try:
            await self._lookups.make_service_role(service, name)
        except BackendError as error:
            raise _internal(error) from error

    async def role_lookup(self, arn: str, source: str) -> bool:
        """Whether the role exists and lets SageMaker assume it; conditions are not looked at without a gate."""
        del source
        try:
            role = await self._lookups.role_lookup(arn)
        except BackendError as error:
            raise _internal(error) from error
        return role is not None and SAGEMAKER in role.trusted_services

    async def _pass_on(self, request: Request) -> None:
        # MiniStack's own doors (one of them forgets everything) ask nobody who they are. No bucket's name begins so.
        if request.path.startswith("/_"):
            raise not_implemented(self.cloud, f"{request.method} {request.path}")
        await self._proxy(request.scope, request.receive, request.send, request.caller)

    def _report(self, caller: Caller | None, headers: dict[bytes, bytes]) -> None:
        """Hear from an answer how IAM stands, and what was decided about the request."""
        if version := headers.get(VERSION_HEADER):
            self.cloud.hooks.iam_changed(version.decode())
        if caller is not None and (decisions := headers.get(DECISIONS_HEADER)):
            self.cloud.hooks.authorised(caller.principal.arn, json.loads(decisions))

    async def s3_has_objects(self, bucket: str, prefix: str) -> bool:
        """Whether anything lies under the prefix."""
        try:
            return await self._lookups.s3_has_objects(bucket, prefix)
        except BackendError as error:
            raise _internal(error) from error

    async def s3_read(self, bucket: str, key: str, limit_bytes: int) -> bytes | None:
        """An object's content."""
        try:
            return await self._lookups.s3_read(bucket, key, limit_bytes)
        except BackendError as error:
            raise _internal(error) from error

    async def s3_write(self, bucket: str, key: str, body: bytes, content_type: str) -> bool:
        """Write an object."""
        try:
            return await self._lookups.s3_write(bucket, key, body, content_type)
        except BackendError as error:
            raise _internal(error) from error

    async def sns_publish(self, topic: str, message: str) -> bool:
        """Publish a message."""
        try:
            return await self._lookups.sns_publish(topic, message)
        except BackendError as error:
            raise _internal(error) from error


def _internal(error: BackendError) -> ServiceError:
    return ServiceError("InternalFailure", f"local cloud: {error}", status=500)


def _tags(form: Mapping[str, str]) -> list[dict[str, str]]:
    """The tags of a request in the query protocol."""
    names = (name.removesuffix(".Key") for name in form if re.fullmatch(r"Tags\.member\.[0-9]+\.Key", name))
    return [{"Key": form[f"{name}.Key"], "Value": form.get(f"{name}.Value", "")} for name in names]
