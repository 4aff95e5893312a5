"""A gateway's state as a process: uses one key without pause, and says after each exchange how often it did.

python program.py URL SECRET TOKENS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from llm_deploy.errors import LlmDeployError
from llm_deploy.gateway.state import StateConfig, open_access


async def main(url: str, secret: str, tokens: int) -> None:
    """Until standard input is closed, or this process is killed."""
    access = open_access(StateConfig(url=url, write_every_s=0.05))
    await access.start()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    used = refused = 0
    while not ended.done():
        for _ in range(20):
            try:
                permit = access.admit(access.caller(secret), scope="chat", model="twin", tokens=tokens)
            except LlmDeployError:
                refused += 1
            else:
                permit.settle(prompt_tokens=tokens, generated_tokens=0)
                used += 1
        await access.exchange()
        print(used, refused, int(access.healthy), flush=True)  # noqa: T201 - what the test reads
        await asyncio.sleep(0.002)
    await access.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
