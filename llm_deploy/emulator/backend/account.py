"""What the backend's IAM and STS keep, in the words of `llm_deploy.emulator.iam.identity`. Runs in the child.

MiniStack's dictionaries are read directly: its API shows neither secrets nor sessions. The package is pinned by hash.
"""

from __future__ import annotations

import json
from typing import Any

from llm_deploy.emulator.iam.identity import Record

Records = dict[str, Record]


class AccountReader:
    """Reads MiniStack's state.

    Args:
        iam, sts: The modules `ministack.services.iam` and `.sts`.
        evaluator: The module `ministack.core.iam_evaluator`.
    """

    def __init__(self, account: str, iam: Any, sts: Any, evaluator: Any) -> None:  # noqa: ANN401 - modules without types
        self._account = account
        self._iam = iam
        self._sts = sts
        self._evaluator = evaluator

    def records(self) -> dict[str, Records]:
        """Everything."""
        return {"users": self.users(), "roles": self.roles(), "keys": self.keys(), "sessions": self.sessions()}

    def users(self) -> Records:
        """Users by name, with the policies of their groups."""
        return {name: self._user(name, user) for name, user in self._iam._users.items()}  # noqa: SLF001 - see above

    def roles(self) -> Records:
        """Roles by name."""
        return {name: self._role(name, role) for name, role in self._iam._roles.items()}  # noqa: SLF001 - see above

    def keys(self) -> Records:
        """Access keys of users by id."""
        return {
            key: {"secret": found["SecretAccessKey"], "user": found["UserName"], "active": found["Status"] == "Active"}
            for key, found in self._iam._access_keys.items()  # noqa: SLF001 - see above
        }

    def sessions(self) -> Records:
        """Temporary credentials by access key."""
        return {key: self._session(found) for key, found in self._sts._sessions.items()}  # noqa: SLF001 - see above

    def _user(self, name: str, user: Any) -> Record:  # noqa: ANN401 - what MiniStack keeps
        documents = [_text(each) for each in (self._iam._user_inline_policies.get(name) or {}).values()]  # noqa: SLF001 - see above
        for group_name, group in self._iam._groups.items():  # noqa: SLF001 - see above
            if name in group.get("Users", []):
                inline = self._iam._group_inline_policies.get(group_name) or {}  # noqa: SLF001 - see above
                documents += [_text(each) for each in inline.values()] + self._managed(group)
        return {**self._entity(name, user, "UserId"), "policies": [*documents, *self._managed(user)]}

    def _role(self, name: str, role: Any) -> Record:  # noqa: ANN401 - as above
        inline = [_text(each) for each in (role.get("InlinePolicies") or {}).values()]
        return {
            **self._entity(name, role, "RoleId"),
            "policies": [*inline, *self._managed(role)],
            "trust": _text(role.get("AssumeRolePolicyDocument") or "{}"),
        }

    def _entity(self, name: str, entity: Any, id_member: str) -> Record:  # noqa: ANN401 - as above
        boundary = entity.get("PermissionsBoundary")
        return {
            "name": name,
            "arn": entity["Arn"],
            "id": entity[id_member],
            # A boundary whose policy is gone allows nothing.
            "boundary": (self._document(boundary) or "{}") if boundary else None,
            "tags": _tags(entity.get("Tags")),
        }

    def _session(self, session: Any) -> Record:  # noqa: ANN401 - as above
        arn = str(session.get("Arn", ""))
        kind = session.get("PrincipalType", "")
        passed = session.get("SessionPolicies")
        return {
            "secret": session["SecretAccessKey"],
            "token": session.get("SessionToken"),
            "expires_at": session.get("Expiration"),
            "issued_at": session.get("IssuedAt", 0),
            "arn": arn,
            "user_id": str(session.get("UserId", "")),
            "role": arn.split("/")[1] if kind == "AssumedRole" and "/" in arn else None,
            "user": session.get("PrincipalName") or None,
            "policies": None if passed is None else self._session_policies(passed),
            "tags": _tags(session.get("SessionTags")),
        }

    def _session_policies(self, passed: Any) -> list[str]:  # noqa: ANN401 - as above
        own = [passed["Policy"]] if passed.get("Policy") else []
        return own + [found for arn in passed.get("PolicyArns", []) if (found := self._document(arn))]

    def _managed(self, entity: Any) -> list[str]:  # noqa: ANN401 - as above
        return [found for arn in entity.get("AttachedPolicies", []) if (found := self._document(arn))]

    def _document(self, arn: str) -> str | None:
        found = self._evaluator._resolve_managed_policy_document(arn, self._account)  # noqa: SLF001 - see above
        return None if not found else _text(found)


def _text(document: Any) -> str:  # noqa: ANN401 - a text or what it spells
    return document if isinstance(document, str) else json.dumps(document)


def _tags(tags: Any) -> dict[str, str]:  # noqa: ANN401 - a list, or nothing
    return {tag["Key"]: tag.get("Value", "") for tag in tags or ()}
