"""Roles that AWS's services make for themselves on the first call that needs them.

Ledger: `access.service-linked-role`.
"""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.emulator.iam.directory import Directory
from llm_deploy.emulator.iam.requirements import Need
from llm_deploy.emulator.service import Cloud

ROLE_NAMES = {
    "sagemaker.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
}
"""Source: Application Auto Scaling user guide, "Service-linked roles"."""


class ServiceLinkedRoles:
    """Makes each role once."""

    def __init__(self, cloud: Cloud, directory: Directory) -> None:
        self._cloud = cloud
        self._directory = directory
        self._making: set[str] = set()

    def needs(self, service: str, place: Mapping[str, str]) -> list[Need]:
        """What the caller must be allowed as long as the role is not there."""
        if self._exists(service):
            return []
        arn = f"arn:aws:iam::{place['account']}:role/aws-service-role/{service}/{ROLE_NAMES[service]}"
        return [Need("iam:CreateServiceLinkedRole", arn, {"iam:awsservicename": (service,)})]

    def make(self, service: str) -> None:
        """Make the role beside the request; nothing happens when it is there."""
        if not self._exists(service):
            self._making.add(service)
            self._cloud.spawn(self._make(service), f"service-linked role {ROLE_NAMES[service]}")

    def _exists(self, service: str) -> bool:
        return service in self._making or ROLE_NAMES[service] in self._directory.newest().roles

    async def _make(self, service: str) -> None:
        try:
            await self._cloud.hooks.make_service_role(service, ROLE_NAMES[service])
            await self._directory.refresh()
        finally:
            self._making.discard(service)
