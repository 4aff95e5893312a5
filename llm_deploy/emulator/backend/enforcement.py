"""IAM for the services behind the proxy: MiniStack says which action on which resource, we decide. Runs in the child.

MiniStack finds out, for every operation of its services, the action and the ARN; its own evaluation knows no policy
variables, takes certain access keys for the root and does not tell boundaries from policies. So its function `enforce`
is replaced by ours: one evaluation for the whole cloud. The signature has been checked by the cloud already.
Ledger: `access.denied`, `access.assume-role`, `access.resource-policies`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.account import AccountReader
from llm_deploy.emulator.backend.channel import Exchange, current
from llm_deploy.emulator.iam.context import Keys, global_keys
from llm_deploy.emulator.iam.evaluation import (
    ALLOWED,
    Access,
    Decision,
    Naming,
    PolicyKind,
    applies,
    decide,
)
from llm_deploy.emulator.iam.failures import reason_of
from llm_deploy.emulator.iam.identity import (
    Account,
    Principal,
    PrincipalKind,
    anonymous,
    naming_statements,
    root,
)
from llm_deploy.emulator.iam.policy import Statement
from llm_deploy.emulator.iam.trust import is_named, trusts
from llm_deploy.emulator.settings import ROOT_ACCESS_KEY

_ALWAYS_ALLOWED = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
"""Source: API reference of STS: no permissions are required."""

_ASSUME_ROLE = "sts:AssumeRole"
_OWN_POLICY_NEEDED = frozenset({"kms"})
"""A key's policy must let even the account's own users in, if only by naming the account."""

_NO_STATEMENT = Decision(allowed=False, explicit=False, kind=PolicyKind.RESOURCE)


@dataclass(frozen=True, slots=True)
class Denied:
    """A denial as MiniStack's router reads it."""

    decision: str
    principal_arn: str
    resource_policy_arn: str = ""


class Enforcement:
    """Decides about the child's own services.

    Args:
        evaluator, actions: The modules `ministack.core.iam_evaluator` and `.iam_actions`.
    """

    def __init__(self, account: str, reader: AccountReader, evaluator: Any, actions: Any) -> None:  # noqa: ANN401 - modules without types
        self._account = account
        self._reader = reader
        self._evaluator = evaluator
        self._evaluate_trust = evaluator.evaluate_trust_policy
        self._denied_response = actions.access_denied_response
        # Looked up by MiniStack at each request.
        evaluator.enforce = self.enforce
        evaluator.authenticate = lambda *_: None
        evaluator.evaluate_trust_policy = self.trusts
        actions.access_denied_response = self.denied_response

    def enforce(  # noqa: PLR0917 - MiniStack's signature
        self,
        access_key: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - `Denied`, MiniStack's refusal of credentials, or `None`
        """MiniStack's question: `None` when it may go on."""
        del access_key
        exchange = current.get(Exchange())
        if exchange.caller is None:
            return None
        principal = self._principal(exchange.caller)
        if principal is None:
            return self._evaluator.AuthError("UnrecognizedClientException", ledger.text("access.unknown-key"))
        if principal.kind is PrincipalKind.ANONYMOUS and service != "s3":
            if self._evaluator._served_unsigned(service, action):  # noqa: SLF001 - pinned by hash
                return None
            return self._evaluator.AuthError("MissingAuthenticationToken", ledger.text("access.missing"))
        keys = self._keys(principal, region, resource_arn, service_context or {})
        access = Access(action, resource_arn, keys)
        decision = self._decision(principal, access, service)
        reason = "" if decision.allowed else reason_of(action, decision)
        exchange.decisions.append((action, resource_arn, reason))
        if decision.allowed:
            return None
        exchange.denial = _denial(principal, access, service, reason)
        return Denied("Deny" if decision.explicit else "ImplicitDeny", principal.arn)

    def trusts(self, document: Any, caller_arn: str, context: Any = None) -> bool:  # noqa: ANN401 - MiniStack's
        """Whether a role's trust policy lets the caller of this request assume it."""
        exchange = current.get(Exchange())
        principal = self._principal(exchange.caller) if exchange.caller else None
        if principal is None or context is None:
            return bool(self._evaluate_trust(document, caller_arn, context))
        keys = {**principal.keys, **_texts(context.service_context)}
        keys |= {f"aws:requesttag/{name}".lower(): (value,) for name, value in context.request_tags.items()}
        if context.tag_keys:
            keys["aws:tagkeys"] = tuple(context.tag_keys)
        return trusts(str(document), principal, Access(context.action, context.resource_arn, keys))

    def denied_response(self, service: str, action: str, principal_arn: str, request_id: str, **more: Any) -> Any:  # noqa: ANN401 - MiniStack's
        """MiniStack's answer to a denial, in our words."""
        exchange = current.get(Exchange())
        if exchange.denial:
            more["message"] = exchange.denial
        return self._denied_response(service, action, principal_arn, request_id, **more)

    def _principal(self, access_key: str) -> Principal | None:
        if not access_key:
            return anonymous()
        if access_key == ROOT_ACCESS_KEY:
            return root(self._account)
        records = self._reader.records()
        account = Account(self._account, records["users"], records["roles"], records["keys"])
        session = records["sessions"].get(access_key)
        return account.key_owner(access_key) if session is None else account.session_owner(session)

    def _keys(self, principal: Principal, region: str, resource: str, context: Mapping[str, Any]) -> Keys:
        from ministack.services.tagging import resource_tags  # noqa: PLC0415 - only the child has it

        tags = resource_tags(resource) or {}
        return {
            **global_keys(region=region, account=self._account, address="127.0.0.1", agent="", now=time.time()),
            **principal.keys,
            **{f"aws:resourcetag/{name}".lower(): (str(value),) for name, value in tags.items()},
            **_texts(context),
        }

    def _decision(self, principal: Principal, access: Access, service: str) -> Decision:
        if access.action == _ASSUME_ROLE:
            return self._assuming(principal, access)
        if access.action in _ALWAYS_ALLOWED or principal.policies is None:
            return ALLOWED
        named = self._named(service, principal, access)
        if service in _OWN_POLICY_NEEDED and named is not None and not any(each.allows for each, _ in named):
            return _NO_STATEMENT
        return decide(access, principal.policies, named or ())

    def _assuming(self, principal: Principal, access: Access) -> Decision:
        """A trust policy that names the caller suffices; its conditions are looked at when the role is assumed.

        Ledger: `access.root-assumes`.
        """
        role = self._reader.roles().get(access.resource.rpartition("/")[2])
        if role is None or role["arn"] != access.resource:
            return _NO_STATEMENT
        if principal.policies is None:
            return ALLOWED
        decision = decide(access, principal.policies)
        lacks_own = not decision.explicit and decision.kind is PolicyKind.IDENTITY
        return ALLOWED if lacks_own and is_named(role["trust"], principal) else decision

    def _named(self, service: str, principal: Principal, access: Access) -> list[tuple[Statement, Naming]] | None:
        """The statements of the resource's own policy that are about who asks; `None` when it has none."""
        found = self._evaluator._resource_policy(service, access.resource)  # noqa: SLF001 - pinned by hash
        if found is None or not found[0]:
            return None
        document = found[0] if isinstance(found[0], str) else json.dumps(found[0])
        return [(each, how) for each, how in naming_statements(document, principal) if applies(each, access)]


def _denial(principal: Principal, access: Access, service: str, reason: str) -> str:
    if principal.kind is PrincipalKind.ANONYMOUS:
        return ledger.text("access.s3.denied")
    resource = f'"{access.resource}"' if service == "s3" else access.resource
    # STS says no more, so that nobody learns which roles there are.
    ending = "" if access.action == _ASSUME_ROLE else reason
    return ledger.text(
        "access.denied", principal=principal.arn, action=access.action, resource=resource, reason=ending
    ).rstrip()


def _texts(context: Mapping[str, Any] | None) -> Keys:
    """MiniStack's condition keys: one value, a list, or `None` for a key that the request does not have."""
    found: Keys = {}
    for name, value in (context or {}).items():
        many = value if isinstance(value, list) else [value]
        texts = tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in many if each is not None)
        if texts:
            found[name.lower()] = texts
    return found
