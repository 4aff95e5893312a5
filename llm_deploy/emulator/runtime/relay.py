"""What every way to a copy has in common: waiting for one, counting the request, ending it with its client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.fleet import Copy
from llm_deploy.emulator.http import Request
from llm_deploy.emulator.runtime.exchange import Exchange
from llm_deploy.emulator.runtime.target import Target
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.service import ServiceError


async def ready_copy(hosting: Hosting, target: Target) -> Copy:
    """The copy to ask; waits for one that is being restarted.

    Raises:
        ServiceError: None became ready in the time that a request has.
    """
    copy = target.fleet.pick()
    if copy is None:
        clock = hosting.cloud.clock
        await target.fleet.any_ready(clock.deadline(0, least_real_s=hosting.cloud.settings.limits.invoke_s))
        copy = target.fleet.pick()
    if copy is None:
        raise ServiceError("ServiceUnavailable", ledger.text("runtime.unavailable"), status=503)
    return copy


@contextmanager
def measured(hosting: Hosting, target: Target, copy: Copy) -> Iterator[None]:
    """Count the request, on the copy and in the metrics. Source of the names: AWS/SageMaker, CloudWatch."""
    metric, dimensions = hosting.cloud.hooks.metric, target.dimensions()
    copy.outstanding += 1
    started = time.monotonic()
    errors = {"Invocation4XXErrors": 0, "Invocation5XXErrors": 0}
    try:
        yield
    except ServiceError as error:
        status = error.fields.get("OriginalStatusCode", error.status)
        errors["Invocation4XXErrors" if status in range(400, 500) else "Invocation5XXErrors"] = 1
        raise
    finally:
        copy.outstanding -= 1
        metric("Invocations", dimensions, 1, "Count")
        metric("ModelLatency", dimensions, (time.monotonic() - started) * 1e6, "Microseconds")
        for name, value in errors.items():
            metric(name, dimensions, value, "Count")


async def unless_gone(request: Request, work: object) -> None:
    """Do the work, unless the client hangs up; then end it at once."""
    working = asyncio.ensure_future(work)  # type: ignore[call-overload]
    watching = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def rest(exchange: Exchange) -> bytes:
    """What is left of a body."""
    pieces = []
    while piece := await exchange.chunk():
        pieces.append(piece)
    return b"".join(pieces)
