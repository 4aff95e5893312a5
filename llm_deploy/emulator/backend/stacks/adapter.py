"""One of our types as the engine calls it: made, noted in its stack before it is ready, waited for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.stacks.providers import Document, Made, Provider, Record
from llm_deploy.emulator.backend.stacks.types import resource_types


class StackKeeper(Protocol):
    """What an adapter needs of the engine."""

    stacks: Any

    def event(self, stack: Record, status: str, reason: str = "", *, resource: Record | None = None) -> None:
        """Record an event of a stack, or of one of its resources."""
        ...


class Adapter:
    """One type as the engine calls it."""

    def __init__(self, engine: StackKeeper, provider: Provider) -> None:
        self._engine = engine
        self._provider = provider

    def create(self, logical_id: str, properties: Document, stack_name: str) -> tuple[str, Mapping[str, str]]:
        """Make it, note it, and wait."""
        stack = self._engine.stacks[stack_name]
        made = self._provider.create(logical_id, properties)
        record = self._noted(stack, logical_id, made, properties)
        try:
            self._provider.settle(made.physical_id, properties, lambda: bool(stack.get("_delete_requested")))
        except Exception:
            record["ResourceStatus"] = "CREATE_FAILED"
            raise
        return made.physical_id, made.attributes

    def update(
        self, physical_id: str, old: Document, new: Document, stack_name: str, logical_id: str
    ) -> tuple[str, Mapping[str, str]]:
        """Change it in place; its attributes stay."""
        stack = self._engine.stacks[stack_name]
        self._provider.update(physical_id, old, new, lambda: False)
        return physical_id, stack["_resources"][logical_id]["Attributes"]

    def delete(self, physical_id: str, properties: Document) -> None:
        """Remove it."""
        self._provider.delete(physical_id, properties)

    def adopt(self, identifier: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Take what exists into a stack."""
        made = self._provider.made(identifier)
        return made.physical_id, made.attributes

    def missing(self, *identifier: str) -> str | None:
        """Why it cannot be imported. Ledger: `cfn.import-missing`.

        The engine asks twice: when a change set is made, which happens on a thread, and on the event loop when it is
        executed, where nothing may block and the first answer has to do.
        """
        if threading.current_thread() is threading.main_thread():
            return None
        names = resource_types()[self._provider.kind].identifier
        if self._provider.exists(dict(zip(names, identifier, strict=True))):
            return None
        return ledger.text("cfn.import-missing", kind=self._provider.kind, identifier="|".join(identifier))

    def _noted(self, stack: Record, logical_id: str, made: Made, properties: Document) -> Record:
        record: Record = {
            "PhysicalResourceId": made.physical_id,
            "ResourceType": self._provider.kind,
            "ResourceStatus": "CREATE_IN_PROGRESS",
            "LogicalResourceId": logical_id,
            "Properties": properties,
            "Attributes": made.attributes,
            "Timestamp": "",
        }
        stack["_resources"][logical_id] = record
        verb = "UPDATE" if stack["StackStatus"].startswith("UPDATE") else "CREATE"
        self._engine.event(stack, f"{verb}_IN_PROGRESS", ledger.text("cfn.initiated"), resource=record)
        return record
