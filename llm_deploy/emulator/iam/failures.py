"""Refusals of the gate, in AWS's words and in the protocol that the client reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from llm_deploy.emulator import ledger
from llm_deploy.emulator.http import Request
from llm_deploy.emulator.iam.evaluation import Access, Decision, PolicyKind
from llm_deploy.emulator.service import ServiceError

FAILURES_FILE = Path(__file__).parent.parent / "data" / "authentication.yaml"

Protocol = Literal["json", "query", "s3"]


class AccessError(ServiceError):
    """A refused signature or a denied action.

    Attributes:
        protocol: In which it must be written.
    """

    def __init__(self, code: str, message: str, *, status: int, protocol: Protocol) -> None:
        super().__init__(code, message, status=status)
        self.protocol = protocol


def protocol_of(request: Request) -> Protocol:
    """The protocol that a request speaks."""
    if "x-amz-target" in request.headers or request.path.startswith("/endpoints/"):
        return "json"
    signature = request.signature
    if signature is not None:
        return "s3" if signature.service in {"s3", "s3control"} else "query"
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return "query" if is_form or "Action=" in request.query_string else "s3"


def failure(name: str, request: Request, **values: object) -> AccessError:
    """An entry of `authentication.yaml` for a request."""
    protocol = protocol_of(request)
    code, status, entry = _failures()[name][protocol]
    if protocol == "json" and request.path.startswith("/endpoints/"):
        status = 403  # a REST service; the RPC ones answer 400
    return AccessError(code, ledger.text(entry, **values), status=status, protocol=protocol)


def denial(access: Access, principal: str, decision: Decision, request: Request) -> AccessError:
    """The denial of an action."""
    resource = f'"{access.resource}"' if protocol_of(request) == "s3" else access.resource
    reason = reason_of(access.action, decision)
    return failure("denied", request, principal=principal, action=access.action, resource=resource, reason=reason)


def reason_of(action: str, decision: Decision) -> str:
    """Why it was denied, as AWS's texts end."""
    if decision.explicit:
        article = "an" if decision.kind is PolicyKind.IDENTITY else "a"
        return ledger.text("access.denied.explicit", article=article, kind=decision.kind)
    return ledger.text("access.denied.implicit", kind=decision.kind, action=action)


@cache
def _failures() -> dict[str, dict[Protocol, tuple[str, int, str]]]:
    loaded: dict[str, dict[Protocol, tuple[str, int, str]]] = yaml.safe_load(FAILURES_FILE.read_text("utf-8"))
    return loaded
