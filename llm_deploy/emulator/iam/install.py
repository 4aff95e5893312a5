"""Puts the gate into a cloud."""

from __future__ import annotations

from llm_deploy.emulator.iam.access_log import AccessLog, Recorder
from llm_deploy.emulator.iam.directory import Directory
from llm_deploy.emulator.iam.execution import ExecutionRoles
from llm_deploy.emulator.iam.gate import Guard
from llm_deploy.emulator.iam.service_linked import ServiceLinkedRoles
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.store import Document


def install(cloud: Cloud) -> None:
    """Check signatures and permissions from now on, unless the cloud was told not to. After the backend."""
    if not cloud.settings.iam:
        return
    log = AccessLog()
    directory = Directory(cloud.settings.account, cloud.clock, cloud.hooks.iam_records)
    recorder = Recorder(cloud.clock, log)
    service_roles = ServiceLinkedRoles(cloud, directory)
    cloud.gate = guard = Guard(cloud, directory, recorder, service_roles)
    cloud.hooks.needs_service_role = service_roles.make
    cloud.hooks.iam_changed = directory.notice
    cloud.hooks.authorised = guard.note
    if cloud.hooks.iam_records is not None:
        roles = ExecutionRoles(cloud, directory, recorder)
        cloud.hooks.role_lookup = roles.trusts
        cloud.hooks.role_may = roles.may

    async def begin() -> None:
        # What is there now has been there for long; whatever comes later is new to the services.
        cloud.spawn(directory.settle(), "iam")

    cloud.at_start.append(begin)

    def forget() -> Document:
        log.clear()
        return {}

    cloud.local["GET", "/_local/authorizations"] = log.document
    cloud.local["DELETE", "/_local/authorizations"] = forget
