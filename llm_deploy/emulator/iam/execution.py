"""What SageMaker may do with the execution role that it was given.

Ledger: `sm.model.role`, `access.execution-role`.
"""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.emulator.iam.access_log import Recorder
from llm_deploy.emulator.iam.context import Keys, global_keys
from llm_deploy.emulator.iam.directory import Directory
from llm_deploy.emulator.iam.evaluation import Access, Decision, PolicyKind
from llm_deploy.emulator.iam.identity import Record, role_principal, service
from llm_deploy.emulator.iam.trust import trusts
from llm_deploy.emulator.service import Cloud

SAGEMAKER = "sagemaker.amazonaws.com"
_UNTRUSTED = Decision(allowed=False, explicit=False, kind=PolicyKind.RESOURCE)


class ExecutionRoles:
    """SageMaker as somebody who assumes roles."""

    def __init__(self, cloud: Cloud, directory: Directory, recorder: Recorder) -> None:
        self._cloud = cloud
        self._directory = directory
        self._recorder = recorder

    async def trusts(self, arn: str, source: str) -> bool:
        """Whether SageMaker may assume a role now, for the resource whose ARN is `source`."""
        await self._directory.settle()
        role = self._directory.account().role(arn)
        allowed = role is not None and self._trusts(role, source)
        self._recorder.add(
            SAGEMAKER, "sagemaker:AssumeRole", Access("sts:AssumeRole", arn, {}), None if allowed else _UNTRUSTED
        )
        return allowed

    def may(self, arn: str, source: str, action: str, resource: str, keys: Mapping[str, str]) -> bool:
        """Whether a role lets SageMaker do something on behalf of `source`; a role that is gone lets it do nothing.

        What a restart brings up before IAM has answered was allowed when it was first brought up.
        """
        if not self._directory.is_known:
            return True
        role = self._directory.account().role(arn)
        if role is None or not self._trusts(role, source):
            return False
        session: Record = {
            "arn": f"arn:aws:sts::{self._cloud.settings.account}:assumed-role/{role['name']}/SageMaker",
            "user_id": f"{role['id']}:SageMaker",
            "tags": {},
            "policies": None,
            "issued_at": self._cloud.clock.now(),
        }
        principal = role_principal(self._cloud.settings.account, role, session)
        asked = {name.lower(): (value,) for name, value in keys.items()}
        access = Access(action, resource, {**self._global(), **principal.keys, **asked})
        return self._recorder.decide(principal, "sagemaker:ExecutionRole", access).allowed

    def _trusts(self, role: Record, source: str) -> bool:
        account = self._cloud.settings.account
        principal = service(SAGEMAKER, account)
        keys = {
            **self._global(),
            **principal.keys,
            "aws:sourceaccount": (account,),
            "aws:sourcearn": (source,),
        }
        return trusts(role["trust"], principal, Access("sts:AssumeRole", role["arn"], keys))

    def _global(self) -> Keys:
        settings = self._cloud.settings
        now = self._cloud.clock.now()
        return global_keys(
            region=settings.region,
            account=settings.account,
            address="127.0.0.1",
            agent=SAGEMAKER,
            now=now,
            via=SAGEMAKER,
        )
