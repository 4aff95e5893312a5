"""What tests of the gateway's state do with it: keys, requests, running gateways, and what the database holds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from llm_deploy.gateway.access import Access
from llm_deploy.gateway.state import StateConfig, open_access
from llm_deploy.gateway.state.administration import KeyService
from llm_deploy.gateway.state.service import StoredAccess

ROOT = Path(__file__).resolve().parents[4]
OFTEN_S = 0.05
PATIENCE_S = 30.0


@asynccontextmanager
async def gateway(url: str, **config: float) -> AsyncIterator[StoredAccess]:
    """A running one, which exchanges often so that a test need not wait."""
    access = open_access(StateConfig.model_validate({"url": url, "write_every_s": OFTEN_S} | config))
    await access.start()
    try:
        yield access
    finally:
        await access.aclose()


@contextmanager
def keys(url: str) -> Iterator[KeyService]:
    """The administrator's view."""
    service = KeyService(url)
    try:
        yield service
    finally:
        service.close()


def use(access: Access, secret: str, *, prompt: int = 1, generated: int = 1, reserved: int = 2) -> None:
    """One request from beginning to end."""
    permit = access.admit(access.caller(secret), scope="chat", model="twin", tokens=reserved)
    permit.settle(prompt_tokens=prompt, generated_tokens=generated)


def counted(url: str) -> tuple[int, int]:
    """Requests and tokens of all keys, as the database has them."""
    with keys(url) as service:
        lines = service.usage(None, since_s=7 * 86_400, grain="total")
    return (
        sum(line.requests for line in lines),
        sum(line.prompt_tokens + line.generated_tokens for line in lines),
    )


async def until(access: StoredAccess, condition: Callable[[], bool]) -> None:
    """Let the gateway exchange until the condition holds; fails after a long while."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await access.exchange()


async def by_itself(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, while the gateway does what it does."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is what nobody is told of
            await asyncio.sleep(OFTEN_S)


def start_program(url: str, *arguments: str) -> subprocess.Popen[str]:
    """A gateway's state in a process of its own that uses a key without pause: `program.py`."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("program.py")), url, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
