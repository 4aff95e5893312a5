"""Puts our types into MiniStack's CloudFormation when it is first needed: loading it takes a second."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_deploy.emulator.backend.durable import App, Receive, Scope, Send
from llm_deploy.emulator.backend.stacks.calls import CALLER, CloudCalls

if TYPE_CHECKING:
    from llm_deploy.emulator.backend.stacks.providers import Provider

_CREDENTIAL = re.compile(rb"Credential=([^/\s,]+)/\d{8}/[^/\s,]+/cloudformation/")
PACKAGE = "ministack.services.cloudformation"


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What stacks need to know of the cloud around them.

    Attributes:
        port: The cloud's own port.
        key: What proves to it that a call comes from one of its services.
        speed: Virtual seconds in a real one.
    """

    port: int
    key: str
    region: str
    account: str
    speed: float


class Stacks:
    """The ASGI application with our types in its CloudFormation."""

    def __init__(self, app: App, settings: StackSettings) -> None:
        self._app = app
        self._settings = settings
        self._plugged_in = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; a stack's work goes on in the name of whoever signed it."""
        caller = _caller(scope)
        if caller is not None:
            self.plug_in()
            CALLER.set(caller)
        await self._app(scope, receive, send)

    def plug_in_if_loaded(self) -> None:
        """At the start: stacks that were kept have loaded the engine already."""
        if PACKAGE in sys.modules:
            self.plug_in()

    def plug_in(self) -> None:
        """Load the engine and put everything of ours into it, once."""
        if self._plugged_in:
            return
        self._plugged_in = True
        from llm_deploy.emulator.backend.stacks.actions import Actions, needs_a_thread  # noqa: PLC0415 - see above
        from llm_deploy.emulator.backend.stacks.engine import Engine  # noqa: PLC0415 - see above
        from llm_deploy.emulator.backend.stacks.hosting import hosting_types  # noqa: PLC0415 - see above
        from llm_deploy.emulator.backend.stacks.scaling import (  # noqa: PLC0415 - see above
            AlarmType,
            ScalableTargetType,
            ScalingPolicyType,
        )

        given = self._settings
        calls = CloudCalls(given.port, given.key, given.region)
        types: list[Provider] = [*hosting_types(calls), ScalableTargetType(calls), ScalingPolicyType(calls)]
        types.append(AlarmType(calls, given.region, given.account))
        engine = Engine({provider.kind: provider for provider in types})
        engine.plug_in()
        Actions(engine, given.speed).plug_in()
        engine.answer_on_a_thread(needs_a_thread)


def _caller(scope: Mapping[str, Any]) -> str | None:
    """The access key of a request that is signed for CloudFormation."""
    for name, value in scope.get("headers", ()):
        if name == b"authorization" and (found := _CREDENTIAL.search(value)):
            return found[1].decode()
    return None
