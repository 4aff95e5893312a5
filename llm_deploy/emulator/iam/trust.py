"""Trust policies: who may assume a role."""

from __future__ import annotations

from llm_deploy.emulator.iam.evaluation import Access, Naming, applies
from llm_deploy.emulator.iam.identity import Principal, naming_statements


def trusts(document: str, principal: Principal, access: Access) -> bool:
    """Whether a trust policy lets somebody assume its role, as far as it is up to the policy.

    One that names only the account leaves the rest to the caller's own policies.
    """
    found = [each for each, _ in naming_statements(document, principal) if applies(each, access)]
    return any(each.allows for each in found) and all(each.allows for each in found)


def is_named(document: str, principal: Principal) -> bool:
    """Whether a trust policy names somebody themselves, so that no policy of their own need allow it."""
    named = naming_statements(document, principal)
    return any(each.allows and how is not Naming.ACCOUNT for each, how in named)
