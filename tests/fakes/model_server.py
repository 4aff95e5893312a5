"""A container that plays the model server's contract without a model, and fails in every way that is asked for.

Behaviour comes from its environment, as a real container's does:
`FAKE_MODE`: `ok` (default), `crash` (exits at once), `never_ready`, `deaf` (never listens);
`FAKE_READY_S`: seconds until /ping is 200; `FAKE_TOKENS`: how many events a stream has; `FAKE_TOKEN_S`: pause
between them; `FAKE_BREAK_AFTER`: the connection is cut after so many events; `FAKE_STATUS`: every answer's status.
A request body may override all but the mode: `{"fake": {"tokens": 3, "token_s": 0.1, "break_after": 1}}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--dialect", required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--exit-with-parent", action="store_true")
    args = parser.parse_args()
    say(f"fake model server: {args.served_model_name} as {args.dialect}")
    if args.exit_with_parent:
        threading.Thread(target=exit_at_end_of_input, daemon=True).start()
    if os.environ.get("FAKE_MODE") == "crash":
        say("CUDA out of memory")
        raise SystemExit(1)
    asyncio.run(serve(args))


def say(line: str) -> None:
    """One line of the container's log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def exit_at_end_of_input() -> None:
    """The cloud is gone when the pipe that it holds is closed."""
    while os.read(0, 4096):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    os._exit(0)


def note_cancelled(tokens: int) -> None:
    """Write down, where a test finds it, that a client hung up."""
    with (Path.home() / "cancelled").open("a") as file:
        file.write(f"cancelled after {tokens}\n")


async def serve(args: argparse.Namespace) -> None:
    """Listen, and write the port down."""
    if os.environ.get("FAKE_MODE") == "deaf":
        await asyncio.sleep(3600)
    ready_at = time.monotonic() + float(os.environ.get("FAKE_READY_S", "0"))
    if os.environ.get("FAKE_MODE") == "never_ready":
        ready_at = float("inf")
    server = await asyncio.start_server(lambda r, w: answer(r, w, ready_at, args), args.host, args.port)
    draft = args.port_file.with_suffix(".tmp")
    draft.write_text(str(server.sockets[0].getsockname()[1]))
    draft.replace(args.port_file)
    async with server:
        await server.serve_forever()


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ready_at: float, args: argparse.Namespace
) -> None:
    """One request a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    if request_line.split()[1] == "/ping":
        await whole(writer, 200 if time.monotonic() >= ready_at else 503, b"", "text/plain")
        return
    document: dict[str, Any] = {}
    try:
        document = json.loads(body)
    except ValueError:
        await whole(writer, 422, b'{"error": "not JSON", "error_type": "validation"}', "application/json")
        return
    fake = {
        "tokens": int(os.environ.get("FAKE_TOKENS", "5")),
        "token_s": float(os.environ.get("FAKE_TOKEN_S", "0")),
        "break_after": int(os.environ.get("FAKE_BREAK_AFTER", "-1")),
        "status": int(os.environ.get("FAKE_STATUS", "200")),
        **document.get("fake", {}),
    }
    if document.get("stream"):
        await stream(reader, writer, fake)
        return
    gone = asyncio.create_task(reader.read(1))
    done, _ = await asyncio.wait({gone}, timeout=fake["token_s"] * fake["tokens"])
    if done:
        note_cancelled(0)
        return
    text = {
        "generated_text": "".join(f" w{i}" for i in range(fake["tokens"])),
        "pid": os.getpid(),
        "headers": headers,
        "environment": dict(os.environ),
        "dialect": args.dialect,
        "served_model_name": args.served_model_name,
    }
    await whole(writer, fake["status"], json.dumps([text]).encode(), "application/json")


async def whole(writer: asyncio.StreamWriter, status: int, body: bytes, content_type: str) -> None:
    """An answer in one piece."""
    head = f"HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake: dict[str, Any]) -> None:
    """Server-sent events, one a token, chunked."""
    if fake["status"] != 200:
        await whole(writer, fake["status"], b'{"error": "asked to fail"}', "application/json")
        return
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    gone = asyncio.create_task(reader.read(1))
    for index in range(fake["tokens"]):
        if index == fake["break_after"]:
            writer.transport.abort()
            return
        event = json.dumps({"index": index, "token": {"id": index, "text": f" w{index}"}}, ensure_ascii=False)
        data = f"data:{event}\n\n".encode()
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
        done, _ = await asyncio.wait({gone}, timeout=fake["token_s"]) if fake["token_s"] else (set(), set())
        if done:
            note_cancelled(index + 1)
            return
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    writer.close()


if __name__ == "__main__":
    main()
