"""Asked before every answer: who is it, and may they?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from llm_deploy.emulator import ledger
from llm_deploy.emulator.http import BodyTooLargeError, Request
from llm_deploy.emulator.iam.access_log import Recorder
from llm_deploy.emulator.iam.bearer import read_token
from llm_deploy.emulator.iam.caller import Caller
from llm_deploy.emulator.iam.context import global_keys
from llm_deploy.emulator.iam.directory import Directory
from llm_deploy.emulator.iam.evaluation import Access
from llm_deploy.emulator.iam.failures import denial, failure, protocol_of
from llm_deploy.emulator.iam.identity import Credential, Principal, anonymous
from llm_deploy.emulator.iam.payload import SIGNED_CHUNKS, ChunkCheck, HashCheck, PayloadCheck, checked
from llm_deploy.emulator.iam.requirements import Need, needs_beside, needs_of, service_linked_role
from llm_deploy.emulator.iam.service_linked import ServiceLinkedRoles
from llm_deploy.emulator.iam.signature import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    MalformedSignatureError,
    Signature,
    Signed,
    matches,
    read_signature,
    stamp_of,
)
from llm_deploy.emulator.native import is_native
from llm_deploy.emulator.service import Cloud, ServiceError, is_own
from llm_deploy.emulator.store import Document

MAX_SIGNED_BODY = 16 * 1024 * 1024
"""Bytes of a body that is read to check its signature; above every service's own limit but S3's, which is streamed."""

CLOUDFORMATION = "cloudformation.amazonaws.com"
"""The one service that calls the cloud's port: it does so in the name of whoever asked for the stack, unsigned.
Ledger: `access.stacks`."""

_PATIENT = frozenset({"ecr", "iam", "s3", "s3control", "sns", "sts"})
_MINUTE_S = 60


class Guard:
    """The gate of a cloud that enforces IAM."""

    def __init__(self, cloud: Cloud, directory: Directory, recorder: Recorder, roles: ServiceLinkedRoles) -> None:
        self._cloud = cloud
        self._directory = directory
        self._recorder = recorder
        self._roles = roles
        self._place = {"region": cloud.settings.region, "account": cloud.settings.account}

    async def admit(self, request: Request) -> None:
        """See `Gate`."""
        if is_native(request.path):
            await self._admit_bearer(request)
            return
        try:
            signature = read_signature(request.query_string, request.scope["headers"])
        except MalformedSignatureError as error:
            raise failure("malformed", request, problem=error) from error
        if signature is None:
            self._admit_unsigned(request)
            return
        own = is_own(self._cloud, request)
        if own:
            await self._directory.credential(signature.access_key)  # so that the key's owner is known
        else:
            await self._check(request, signature)
        principal = self._directory.principal(signature.access_key)
        if principal is None:
            raise failure("unknown-key", request)
        request.caller = Caller(principal, signature.access_key, CLOUDFORMATION if own else None)

    def authorise(self, request: Request, service: str, operation: str, params: Document) -> None:
        """See `Gate`."""
        caller = request.caller
        assert caller is not None  # noqa: S101 - `admit` has set it or refused
        implied = self._cloud.implied.get(service)
        whole = params if implied is None else {**params, **implied(operation, params)}
        needs = needs_of(service, operation, whole, self._place)
        linked = service_linked_role(service, operation)
        if linked is not None:
            needs += self._roles.needs(linked, self._place)
        missing = [need.action for need in needs if not self._has(request, caller, f"{service}:{operation}", need)]
        if missing:
            words = ledger.text("access.denied.further", actions=", ".join(missing))
            raise ServiceError("ValidationException", words)

    def hand_over(self, request: Request, service: str, operation: str, params: Document) -> None:
        """See `Gate`."""
        caller = request.caller
        assert caller is not None  # noqa: S101 - `admit` has set it or refused
        for need in needs_beside(service, operation, params, self._place):
            self._has(request, caller, f"{service}:{operation}", need)

    def note(self, principal: str, decisions: list[list[str]]) -> None:
        """Log what the backend decided about one request, its own action first."""
        for action, resource, reason in decisions:
            self._recorder.note(principal, decisions[0][0], action, resource, reason)

    def _has(self, request: Request, caller: Caller, operation: str, need: Need) -> bool:
        """Whether one need is met.

        Raises:
            ServiceError: It is not, and it is the operation's own.
        """
        access = self._access(request, caller.principal, need, caller.via)
        decision = self._recorder.decide(caller.principal, operation, access)
        if not decision.allowed and need.own:
            raise denial(access, caller.principal.arn, decision, request)
        return decision.allowed

    def _access(self, request: Request, principal: Principal, need: Need, via: str | None) -> Access:
        if principal.policies is None:
            return Access(need.action, need.resource, {})
        client = request.scope.get("client") or ("127.0.0.1", 0)
        keys = global_keys(
            **self._place,
            address=client[0],
            agent=request.headers.get("user-agent", ""),
            now=self._cloud.clock.now(),
            via=via,
        )
        return Access(need.action, need.resource, {**keys, **principal.keys, **self._tags(need.resource), **need.keys})

    def _tags(self, resource: str) -> dict[str, tuple[str, ...]]:
        service = resource.split(":")[2] if resource.startswith("arn:") else ""
        tags_of = self._cloud.tags.get(service)
        tags: Mapping[str, str] = {} if tags_of is None else tags_of(resource)
        prefixes = ("aws:resourcetag/", f"{service}:resourcetag/")
        return {f"{prefix}{name}".lower(): (value,) for name, value in tags.items() for prefix in prefixes}

    async def _admit_bearer(self, request: Request) -> None:
        """The OpenAI path knows tokens only: a signed request is refused too. Ledger: `access.bearer`."""
        try:
            token = read_token(request.headers.get("authorization", ""))
        except MalformedSignatureError as error:
            raise failure("malformed", request, problem=error) from error
        if token is None:
            raise failure("missing", request)
        here = self._cloud.settings.region
        if token.signature.region != here:
            words = ledger.text("local.wrong-region", here=here, asked=token.signature.region)
            raise ServiceError("LocalCloudWrongRegion", words, status=403)
        await self._check(request, token.signature, token.signed)
        principal = self._directory.principal(token.signature.access_key)
        if principal is None:
            raise failure("unknown-key", request)
        request.caller = Caller(principal, token.signature.access_key)

    def _admit_unsigned(self, request: Request) -> None:
        """Objects may be public and web identities have no keys yet; everything else needs a signature."""
        if protocol_of(request) == "json":
            raise failure("missing", request)
        request.caller = Caller(anonymous(), "")

    async def _check(self, request: Request, signature: Signature, signed: Signed | None = None) -> None:
        """Check a signature: of the request itself, unless it is said what was signed."""
        credential = await self._directory.credential(signature.access_key)
        if credential is None or (credential.token is not None and signature.token is None):
            raise failure("unknown-key", request)
        if credential.token != signature.token:
            raise failure("wrong-token", request)
        try:
            await self._check_signature(request, signature, credential, signed)
        except MalformedSignatureError as error:
            raise failure("malformed", request, problem=error) from error

    async def _check_signature(
        self, request: Request, signature: Signature, credential: Credential, signed: Signed | None
    ) -> None:
        now = self._cloud.clock.now()
        if credential.expires_at is not None and credential.expires_at <= now:
            raise failure("expired-token", request)
        _check_time(request, signature, now)
        of_request = signed or Signed(
            request.method,
            request.raw_path.decode("latin-1"),
            request.query_string,
            request.scope["headers"],
            await _payload_hash(request, signature, credential.secret),
        )
        if not matches(signature, of_request, credential.secret):
            raise failure("wrong-signature", request)


def _check_time(request: Request, signature: Signature, now: float) -> None:
    minutes = 15 if signature.service in _PATIENT else 5
    window_s = minutes * _MINUTE_S
    after = signature.signed_at + (window_s if signature.valid_s is None else signature.valid_s)
    words = {"stamp": signature.stamp, "now": stamp_of(now), "minutes": minutes}
    if now > after:
        name = "too-late" if signature.valid_s is None else "expired-url"
        raise failure(name, request, **words, limit=stamp_of(now - window_s))
    if signature.signed_at - window_s > now:
        raise failure("too-early", request, **words, limit=stamp_of(now + window_s))


async def _payload_hash(request: Request, signature: Signature, secret: str) -> str:
    """What stands for the body in the signature. S3's bodies are checked while they are passed on."""
    if signature.service == "s3":
        return _s3_payload(request, signature, secret)
    try:
        return hashlib.sha256(await request.body(MAX_SIGNED_BODY)).hexdigest()
    except BodyTooLargeError as error:
        raise ServiceError("RequestEntityTooLargeException", "The request is too large.", status=413) from error


def _s3_payload(request: Request, signature: Signature, secret: str) -> str:
    if signature.valid_s is not None:
        return UNSIGNED_PAYLOAD
    claimed: str = request.headers.get("x-amz-content-sha256", EMPTY_SHA256)
    if claimed in SIGNED_CHUNKS:
        check: PayloadCheck = ChunkCheck(signature, secret, trailer=SIGNED_CHUNKS[claimed])
        request.receive = checked(request.receive, check, lambda: failure("wrong-signature", request))
    elif len(claimed) == len(EMPTY_SHA256):
        request.receive = checked(request.receive, HashCheck(claimed), lambda: failure("wrong-payload", request))
    return claimed
