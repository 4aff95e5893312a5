"""The one place that knows MiniStack's CloudFormation from the inside; the package is pinned by hash.

Types of ours are put into its table, run on threads (a handler that waits for an endpoint would otherwise freeze the
backend), and are recorded in their stack before they are ready, so that a failed or interrupted one is removed with it.

Ledger: `cfn.serial`.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.stacks.adapter import Adapter
from llm_deploy.emulator.backend.stacks.providers import Document, Provider, Record
from llm_deploy.emulator.backend.stacks.scaling import already_exists
from llm_deploy.emulator.backend.stacks.types import ResourceType, resource_types

PACKAGE = "ministack.services.cloudformation"
STACK = "AWS::CloudFormation::Stack"
SYSTEM_TAG = "aws:cloudformation:"
KEPT_TYPES = (
    "AWS::IAM::",
    "AWS::S3::",
    "AWS::SecretsManager::",
    "AWS::SNS::",
    "AWS::SSM::",
    "AWS::KMS::",
    "AWS::ECR::",
)
"""The types of services that this cloud answers through the backend; others would be made where nobody
can see them. Ledger: `cfn.types`."""
KEPT_OF_CLOUDFORMATION = "AWS::CloudFormation::"


class Engine:
    """MiniStack's CloudFormation with our types in it.

    Attributes:
        stacks, events, change_sets: Its own stores: stacks by name, events by stack id, change sets by id.
        actions: What answers each action; see `actions`.
    """

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self.package = importlib.import_module(PACKAGE)
        self._stacks_module = importlib.import_module(f"{PACKAGE}.stacks")
        self._change_sets_module = importlib.import_module(f"{PACKAGE}.changesets")
        self._handlers_module = importlib.import_module(f"{PACKAGE}.handlers")
        self._provisioners = importlib.import_module(f"{PACKAGE}.provisioners")
        self.stacks: Any = self.package._stacks  # noqa: SLF001 - the adapter's purpose, here and below
        self.events: Any = self.package._stack_events  # noqa: SLF001
        self.change_sets: Any = self.package._change_sets  # noqa: SLF001
        self.actions: dict[str, Callable[[Any], Any]] = self.package._ACTION_HANDLERS  # noqa: SLF001
        self._providers = providers

    def plug_in(self) -> None:
        """Put our types and repairs in. Once in a process."""
        self._forget_unreachable_types()
        for kind, provider in self._providers.items():
            self._add(kind, provider, resource_types()[kind])
        self._refuse_taken_names()
        self._repair()

    def stack(self, name_or_id: str) -> Record | None:
        """The stack of a name or an id, deleted ones by their id only."""
        found: Record | None = self._handlers_module._resolve_stack(name_or_id)  # noqa: SLF001
        if found is not None and found["StackStatus"] == "DELETE_COMPLETE" and found["StackId"] != name_or_id:
            return None
        return found

    def refusal(self, code: str, message: str) -> Any:  # noqa: ANN401 - the engine's answers are tuples of its own
        """An error in the query protocol."""
        return self._handlers_module._error(code, message)  # noqa: SLF001

    def event(self, stack: Record, status: str, reason: str = "", *, resource: Record | None = None) -> None:
        """Record an event of a stack, or of one of its resources."""
        about = resource or {
            "LogicalResourceId": stack["StackName"],
            "ResourceType": STACK,
            "PhysicalResourceId": stack["StackId"],
        }
        self._stacks_module._add_event(  # noqa: SLF001
            stack["StackId"], stack["StackName"], about["LogicalResourceId"], about["ResourceType"], status,
            reason, about["PhysicalResourceId"],
        )  # fmt: skip

    def resolved(self, template: Document, params: Document, stack: Record) -> Document:
        """A template with what is known before anything is made put in place of references."""
        found: Document = self._change_sets_module._resolve_props_for_diff(  # noqa: SLF001
            template, params, stack["StackName"], stack["StackId"]
        )
        return found

    def answer_on_a_thread(self, needed: Callable[[Mapping[str, str], bytes], bool]) -> None:
        """Answer requests for which `needed` holds beside the event loop: their actions ask the cloud."""
        original = self.package.handle_request

        async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any) -> Any:  # noqa: ANN401 - the engine's
            work = original(method, path, headers, body, query)
            if not needed(headers, body):
                return await work
            return await self._stacks_module.run_reentrant(asyncio.run, work)

        _replace(self.package, "handle_request", lambda _: handle)

    def _forget_unreachable_types(self) -> None:
        table = self._provisioners._RESOURCE_HANDLERS  # noqa: SLF001
        for kind in [kind for kind in table if not kind.startswith((*KEPT_TYPES, KEPT_OF_CLOUDFORMATION))]:
            del table[kind]

    def _add(self, kind: str, provider: Provider, described: ResourceType) -> None:
        adapter = Adapter(self, provider)
        self._provisioners._RESOURCE_HANDLERS[kind] = {  # noqa: SLF001
            "create": adapter.create,
            "update": adapter.update,
            "update_with_logical_id": True,
            "delete": adapter.delete,
            "import": adapter.adopt,
        }
        self._provisioners._REPLACING_PROPERTIES[kind] = described.create_only  # noqa: SLF001
        # Ledger: `cfn.auto-import`.
        self._change_sets_module._IMPORT_LOOKUPS[kind] = (described.identifier, adapter.missing)  # noqa: SLF001
        if described.name is not None:
            self._provisioners._CUSTOM_NAME_REPLACEMENT[kind] = {"name": described.name}  # noqa: SLF001
        if described.tagged:
            self._provisioners._STACK_TAG_PROPERTY[kind] = ("Tags", "list")  # noqa: SLF001

    def _refuse_taken_names(self) -> None:
        """MiniStack takes a role or policy of the same name over. Ledger: `cfn.already-exists`."""
        iam: Any = importlib.import_module("ministack.services.iam")
        account = importlib.import_module("ministack.core.responses").get_account_id
        table = self._provisioners._RESOURCE_HANDLERS  # noqa: SLF001

        def refusing(kind: str, taken: Callable[[Document], str | None]) -> None:
            original = table[kind]["create"]

            def create(logical_id: str, properties: Document, stack_name: str) -> Any:  # noqa: ANN401 - the engine's
                name = taken(properties)
                if name is not None:
                    raise already_exists(kind, name)
                return original(logical_id, properties, stack_name)

            table[kind]["create"] = create

        def role(properties: Document) -> str | None:
            return next((name for name in (properties.get("RoleName"),) if name in iam._roles), None)  # noqa: SLF001

        def user(properties: Document) -> str | None:
            return next((name for name in (properties.get("UserName"),) if name in iam._users), None)  # noqa: SLF001

        def policy(properties: Document) -> str | None:
            path = properties.get("Path", "/")
            arn = f"arn:aws:iam::{account()}:policy{path}{properties.get('ManagedPolicyName')}"
            return arn if arn in iam._policies else None  # noqa: SLF001

        refusing("AWS::IAM::Role", role)
        refusing("AWS::IAM::User", user)
        refusing("AWS::IAM::ManagedPolicy", policy)

    def _repair(self) -> None:
        module = self._stacks_module
        _replace(module, "_runs_on_worker_thread", self._on_threads)
        _replace(module, "_with_stack_tags", _without_system_tags)
        _replace(module, "_delete_resource", self._deleting_with_events)
        _replace(module, "_roll_back_operation", self._rolling_back)
        # Without enforcement MiniStack does not ask for capabilities. Ledger: `cfn.capabilities`.
        for user in (self._handlers_module, self._change_sets_module):
            _replace(user, "_deploy_stack_async", self._deploying)
        _replace(self._change_sets_module, "_import_resources_async", self._importing)
        self._handlers_module._capabilities_enforced = lambda: True  # type: ignore[attr-defined]  # noqa: SLF001

    def _on_threads(self, original: Callable[[str], bool]) -> Callable[[str], bool]:
        return lambda kind: kind in self._providers or original(kind)

    def _deleting_with_events(self, original: Callable[..., None]) -> Callable[..., None]:
        """After an update has succeeded, what it replaced or dropped goes, and is told of. Ledger: `cfn.cleanup`."""

        def delete(kind: str, physical_id: str, properties: Document, stack_name: str, logical_id: str) -> None:
            stack = self.stacks[stack_name]
            if stack["StackStatus"] == "UPDATE_IN_PROGRESS":
                stack["StackStatus"] = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
                self.event(stack, stack["StackStatus"])
            cleaning = stack["StackStatus"] == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
            gone = {"LogicalResourceId": logical_id, "ResourceType": kind, "PhysicalResourceId": physical_id}
            if cleaning:
                self.event(stack, "DELETE_IN_PROGRESS", resource=gone)
            original(kind, physical_id, properties, stack_name, logical_id)
            if cleaning:
                self.event(stack, "DELETE_COMPLETE", resource=gone)

        return delete

    def _deploying(self, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """A stack whose deletion was asked for while it was made is deleted then."""

        async def deploy(stack_name: str, stack_id: str, *more: Any, **named: Any) -> None:  # noqa: ANN401 - the engine's
            await original(stack_name, stack_id, *more, **named)
            if self.stacks[stack_name].pop("_delete_requested", False):
                await self._stacks_module._delete_stack_async(stack_name, stack_id)  # noqa: SLF001
                for identity in [each for each, found in self.change_sets.items() if found["StackId"] == stack_id]:
                    del self.change_sets[identity]

        return deploy

    def _importing(self, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """CloudFormation puts its own tags on what it has imported. Ledger: `cfn.import-tags`."""

        async def adopt(change_set: Record, stack: Record, new: bool) -> None:  # noqa: FBT001 - the engine's
            await original(change_set, stack, new)
            if stack["StackStatus"] != "IMPORT_COMPLETE":
                return
            last = self.events[stack["StackId"]].pop()
            stack["StackStatus"] = "IMPORT_IN_PROGRESS"
            try:
                await self._stacks_module.run_reentrant(self._tag_imported, change_set, stack)
            finally:
                stack["StackStatus"] = "IMPORT_COMPLETE"
                self.events[stack["StackId"]].append(last)

        return adopt

    def _tag_imported(self, change_set: Record, stack: Record) -> None:
        for entry in change_set["_resources_to_import"]:
            record = stack["_resources"][entry["LogicalResourceId"]]
            provider = self._providers.get(record["ResourceType"])
            if provider is None:
                continue
            tagged = self._stacks_module._with_stack_tags(  # noqa: SLF001
                record["ResourceType"], record["Properties"], stack["Tags"], stack["StackName"], stack["StackId"],
                entry["LogicalResourceId"],
            )  # fmt: skip
            provider.update(record["PhysicalResourceId"], record["Properties"], tagged, lambda: False)
            # An ARN, by which it was taken in, has the name in lower case.
            known, properties = record["Attributes"], record["Properties"]
            record["Attributes"] = {name: properties.get(name, value) for name, value in known.items()}

    def _rolling_back(self, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """A rollback that knows of the resource that failed, and says which. Ledger: `cfn.rollback`."""

        async def roll_back(name: str, stack_id: str, stack: Record, operation: Record, reason: str = "") -> None:
            failed, created = operation.get("failed_logical_id"), operation["created"]
            record = stack["_resources"].get(failed)
            if record is not None and record.get("ResourceStatus") == "CREATE_FAILED" and failed not in created:
                created.append(failed)
            if not operation["is_update"] and failed and not reason:
                reason = ledger.text("cfn.rollback", failed=failed)
            await original(name, stack_id, stack, operation, reason)

        return roll_back


def _without_system_tags(original: Callable[..., Document]) -> Callable[..., Document]:
    """The stack's tags on every type that takes tags, CloudFormation's own three on some. Ledger: `cfn.system-tags`."""

    def with_tags(kind: str, properties: Document, *more: Any) -> Document:  # noqa: ANN401 - the engine's
        found = original(kind, properties, *more)
        described = resource_types().get(kind)
        if described is None or described.system_tags or not described.tagged:
            return found
        return {**found, "Tags": [tag for tag in found["Tags"] if not tag["Key"].startswith(SYSTEM_TAG)]}

    return with_tags


def _replace(module: ModuleType, name: str, wrapped: Callable[[Any], Any]) -> None:
    setattr(module, name, wrapped(getattr(module, name)))
