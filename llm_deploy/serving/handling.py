"""What both servers do with a POST: read its body, answer unless the client goes away, and note how it ended."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine

from llm_deploy.serving.journal import GONE, Journal, Record
from llm_deploy.serving.wire import (
    BodyTooLargeError,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    read_body,
    send_json,
    while_connected,
)

Answer = Callable[[bytes, Record], Coroutine[None, None, None]]


async def handle(
    scope: Scope, receive: Receive, send: Send, answer: Answer, *, journal: Journal, payload_bytes: int
) -> None:
    """Answer one POST; `answer` is cancelled at once when the client goes away."""
    record = journal.begin(secrets.token_hex(8), scope["path"])
    try:
        body = await read_body(receive, payload_bytes)
        await while_connected(answer(body, record), receive)
    except BodyTooLargeError:
        record.status = 413
        message = f"the body is larger than {payload_bytes} bytes"
        await send_json(send, 413, {"error": message, "error_type": "payload_too_large"})
    except ClientGoneError:
        record.status, record.finish = GONE, "gone"
    finally:
        record.status = record.status or GONE  # the server is stopping
        journal.end(record)
