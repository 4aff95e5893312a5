"""Callers of all kinds at once: patient ones, readers of streams, leavers, strangers, and senders of nonsense."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

TOKENS = 4
TOO_LARGE_BYTES = 300_000
"""More than the gateway of these tests takes."""
PATIENCE_S = 60.0


@dataclass
class Traffic:
    """Asks for a while; `seen` counts what was answered to which kind, `wrong` keeps what should not have been."""

    url: str
    key: str
    model: str
    pause_s: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    async def run(self, seconds: float, callers: int) -> None:
        """So many callers for so long, each one request after the other."""
        end = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=callers * 2)
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            for number in range(callers):
                group.create_task(self._caller(client, random.Random(number), end))  # noqa: S311 - not for secrets

    async def _caller(self, client: httpx.AsyncClient, chance: random.Random, end: float) -> None:
        kinds: list[tuple[Callable[[httpx.AsyncClient, random.Random], Awaitable[Any]], int]] = [
            (self.plain, 6), (self.stream, 4), (self.cancelled, 4), (self.dropped, 3), (self.generate, 2),
            (self.stranger, 3), (self.nonsense, 3), (self.unknown_model, 2), (self.too_large, 1), (self.looking, 2),
        ]  # fmt: skip
        while time.monotonic() < end:
            (kind,) = chance.choices([one for one, _ in kinds], [weight for _, weight in kinds])
            await asyncio.sleep(self.pause_s)
            try:
                await kind(client, chance)
            except httpx.HTTPError as error:
                self.wrong.append(f"{kind.__name__}: {type(error).__name__} {error}")

    async def plain(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """A whole answer."""
        answer = await client.post("/v1/chat/completions", json=self.chat(chance), headers=self.headers())
        if self.expect("plain", answer.status_code, 200, 429) == 200:
            self.check("plain", answer.json()["usage"]["completion_tokens"] > 0)

    async def generate(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """TGI's route."""
        body = {"inputs": f"The number {chance.random()} is", "parameters": {"max_new_tokens": TOKENS}}
        answer = await client.post("/generate", json=body, headers=self.headers())
        self.expect("generate", answer.status_code, 200, 429)

    async def stream(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """A stream, read to its end."""
        async with self.streaming(client, chance) as answer:
            if self.expect("stream", answer.status_code, 200, 429) != 200:
                await answer.aread()
                return
            lines = [line async for line in answer.aiter_lines() if line]
            self.check("stream", lines[-1] == "data: [DONE]")

    async def cancelled(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """A stream that is closed after its first bytes."""
        async with self.streaming(client, chance, tokens=64) as answer:
            if self.expect("cancelled", answer.status_code, 200, 429) == 200:
                async for _ in answer.aiter_raw():
                    break

    async def dropped(self, _client: httpx.AsyncClient, chance: random.Random) -> None:
        """A connection that breaks in the middle of the request, or before the answer."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(self.chat(chance, tokens=64)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
        whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        writer.write(whole if chance.random() < 0.5 else whole[: chance.randrange(len(whole))])
        await writer.drain()
        await asyncio.sleep(chance.random() / 10)
        writer.transport.abort()
        del reader
        self.seen["dropped"] += 1

    async def stranger(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """No key, or a wrong one."""
        headers = chance.choice([{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {self.key}"}])
        answer = await client.post("/v1/chat/completions", json=self.chat(chance), headers=headers)
        self.expect("stranger", answer.status_code, 401)

    async def nonsense(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """Bodies that are no request."""
        bodies = [b"", b"{", b"[]", b"\xff\xfe", b'{"model": 3}', b'{"model": "tiny", "messages": "hi"}', b"{}" * 999]
        answer = await client.post("/v1/chat/completions", content=chance.choice(bodies), headers=self.headers())
        self.expect("nonsense", answer.status_code, 400, 404, 422)

    async def unknown_model(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """A model that nobody serves; its name is another one each time."""
        body = self.chat(chance) | {"model": f"none-{chance.random()}"}
        answer = await client.post("/v1/chat/completions", json=body, headers=self.headers())
        self.expect("unknown model", answer.status_code, 404)

    async def too_large(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """A body above the limit."""
        body = self.chat(chance) | {"user": "x" * TOO_LARGE_BYTES}
        answer = await client.post("/v1/chat/completions", json=body, headers=self.headers())
        self.expect("too large", answer.status_code, 413)

    async def looking(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """Pages for machines."""
        path = chance.choice(["/healthz", "/readyz", "/metrics", "/v1/models", "/no/such/page"])
        answer = await client.get(path, headers=self.headers())
        self.expect("looking", answer.status_code, *((404,) if path.startswith("/no") else (200,)))

    def streaming(self, client: httpx.AsyncClient, chance: random.Random, tokens: int = TOKENS) -> Any:  # noqa: ANN401 - httpx's context manager
        """A request for a stream."""
        body = self.chat(chance, tokens) | {"stream": True}
        return client.stream("POST", "/v1/chat/completions", json=body, headers=self.headers())

    def chat(self, chance: random.Random, tokens: int = TOKENS) -> dict[str, Any]:
        """A question that differs each time."""
        question = f"Say something about {chance.randrange(10**9)}."
        return {"model": self.model, "max_tokens": tokens, "messages": [{"role": "user", "content": question}]}

    def headers(self) -> dict[str, str]:
        """With the right key."""
        return {"Authorization": f"Bearer {self.key}"}

    def expect(self, kind: str, status: int, *expected: int) -> int:
        """Count an answer, and remember one that should not have been."""
        self.seen[f"{kind} {status}"] += 1
        self.check(f"{kind}: {status}", status in expected)
        return status

    def check(self, what: str, holds: bool) -> None:  # noqa: FBT001 - a condition
        """Remember what does not hold."""
        if not holds and len(self.wrong) < 100:
            self.wrong.append(what)
