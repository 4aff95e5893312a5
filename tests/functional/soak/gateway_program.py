"""A gateway as `llmdeploy gateway run` starts it, that also tells how many tasks its event loop holds: `GET /_vitals`.

    python -m tests.functional.soak.gateway_program CONFIG

Prints its address. `SOAK_LEAK_BYTES` makes it keep so many bytes of each request, for the test of the test.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

from llm_deploy.gateway.app import Gateway
from llm_deploy.gateway.asgi import Receive, Scope, Send
from llm_deploy.gateway.config_file import load
from llm_deploy.gateway.server import listen, serve
from llm_deploy.gateway.state import open_access

LEAK_BYTES = int(os.environ.get("SOAK_LEAK_BYTES", "0"))


class Told(Gateway):
    """The gateway, and what only its own process can know."""

    kept: list[bytes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == "/_vitals":
            await self._vitals(send)
            return
        if LEAK_BYTES:
            self.kept = [*getattr(self, "kept", []), os.urandom(LEAK_BYTES)]
        await super().__call__(scope, receive, send)

    async def _vitals(self, send: Send) -> None:
        gc.collect()
        body = json.dumps({"tasks": len(asyncio.all_tasks()), "spans": self._spans()}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    def _spans(self) -> dict[str, int]:
        if self._tracing is None:
            return {}
        counts = self._tracing.counts()
        return {"exported": counts.exported, "failed": counts.failed, "dropped": counts.dropped}


def main() -> None:
    """Serve until a signal."""
    document = load(Path(sys.argv[1]))
    listener = listen(document.listen.host, 0)
    serve(Told(document, open_access(document.state)), listener, started=lambda url: print(url, flush=True))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
