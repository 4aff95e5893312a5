"""The child answers its parent only.

Its port is open to every program and every web page of this machine, and MiniStack allows pages of all origins. The
local cloud's own checks must not be passed by: so each request carries a key that only parent and child know.
"""

from __future__ import annotations

import hmac

from llm_deploy.emulator.backend.durable import App, Receive, Scope, Send

KEY_HEADER = b"x-local-cloud-key"
KEY_VARIABLE = "LOCAL_CLOUD_KEY"


class Guarded:
    """An ASGI application that refuses requests without the key."""

    def __init__(self, app: App, key: bytes) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without the key, or answer 403."""
        given = [value for name, value in scope["headers"] if name == KEY_HEADER]
        if len(given) != 1 or not hmac.compare_digest(given[0], self._key):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(name, value) for name, value in scope["headers"] if name != KEY_HEADER]
        await self._app({**scope, "headers": headers}, receive, send)
