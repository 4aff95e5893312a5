"""What the stub says: answers and token events in TGI's and OpenAI's shapes, plain or inside SageMaker's frames.

A clock mark is 14 hexadecimal digits of nanoseconds on the machine's monotonic clock, which every process here shares.
A whole answer's text is ` <arrived> <sent>`; the first token of a paced stream is the same, each later one ` <sent>`.
Tokens of a burst carry no marks: their bytes are made once. They differ, because some proxies end an answer that seems
to repeat itself.
"""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

Shape = Literal["tgi", "tgi_object", "chat", "completion"]
"""`tgi` answers a list of one, as SageMaker's containers do, and `tgi_object` the bare object of `/generate`."""

EVENT_STREAM = b"application/vnd.amazon.eventstream"
MARK = "%014x"
_MARKS = re.compile(r"\b[0-9a-f]{14}\b")
_PROMPT_TOKENS = 12
_ID = "stub-0001"


def marks_ns(text: str) -> list[int]:
    """The clock marks in a text, in their order."""
    return [int(mark, 16) for mark in _MARKS.findall(text)]


def held_ns(text: str) -> int:
    """How long the stub itself held the request whose answer, or first token, this is."""
    arrived, sent = marks_ns(text)[:2]
    return sent - arrived


def marked(arrived_ns: int | None) -> str:
    """A token's text that says when it was made, and when its request arrived if it is the first."""
    now = MARK % time.monotonic_ns()
    return f" {now}" if arrived_ns is None else f" {MARK % arrived_ns} {now}"


def answer(shape: Shape, text: str, tokens: int = 16) -> bytes:
    """A whole answer."""
    return _ANSWERS[shape](text, tokens)


def event(shape: Shape, index: int, text: str) -> bytes:
    """A token's event, as the engine's own server-sent line."""
    if shape == "chat":
        return b"data: %s\n\n" % _chat_chunk(f'{{"content":"{text}"}}', "null")
    if shape == "completion":
        return b"data: %s\n\n" % _text_chunk(text, "null")
    return b'data:{"index":%d,"token":{"id":%d,"text":"%s","logprob":-0.5,"special":false},' % (
        index,
        index,
        text.encode(),
    ) + (b'"generated_text":null,"details":null}\n\n')


def last_events(shape: Shape, index: int, text: str, tokens: int) -> list[bytes]:
    """The last token's event and what follows it."""
    if shape in {"tgi", "tgi_object"}:
        head = event(shape, index, text).removesuffix(b'"generated_text":null,"details":null}\n\n')
        whole = text * tokens if tokens <= 16 else ""
        details = f'"finish_reason":"length","generated_tokens":{tokens},"input_length":{_PROMPT_TOKENS},"seed":null'
        return [head + f'"generated_text":"{whole}","details":{{{details}}}}}\n\n'.encode()]
    ending = _chat_chunk("{}", '"length"') if shape == "chat" else _text_chunk("", '"length"')
    return [
        event(shape, index, text),
        b"data: %s\n\n" % ending,
        b"data: %s\n\n" % _usage(shape, tokens),
        b"data: [DONE]\n\n",
    ]


@lru_cache(maxsize=64)
def burst(shape: Shape, tokens: int, wrap: Callable[[bytes], bytes]) -> bytes:
    """The body of a stream whose tokens are all there at once, made once."""
    events = [event(shape, index, f" tok{index}") for index in range(1, tokens)]
    return b"".join(map(wrap, events + last_events(shape, tokens, f" tok{tokens}", tokens)))


def chunk(data: bytes) -> bytes:
    """A piece of HTTP's chunked encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def framed_chunk(data: bytes) -> bytes:
    """A `PayloadPart` frame of SageMaker's response stream, as a chunk of its own."""
    return chunk(frame(_PAYLOAD_PART, data))


def frame(headers: bytes, payload: bytes) -> bytes:
    """One message of AWS's event stream with both checksums. Source: the format's public description at AWS."""
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = b"%s%s%s%s" % (prelude, struct.pack("!I", zlib.crc32(prelude)), headers, payload)
    return message + struct.pack("!I", zlib.crc32(message))


def _header_block(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%c%s\x07%s%s" % (len(name), name, struct.pack("!H", len(value)), value) for name, value in pairs)


_PAYLOAD_PART = _header_block(
    [
        (b":event-type", b"PayloadPart"),
        (b":content-type", b"application/octet-stream"),
        (b":message-type", b"event"),
    ]
)


def _tgi(text: str, tokens: int) -> bytes:
    return (
        b'{"generated_text":"%s","details":{"finish_reason":"length","generated_tokens":%d,"input_length":%d,"seed":null,"prefill":[],"tokens":[]}}'
        % (
            text.encode(),
            tokens,
            _PROMPT_TOKENS,
        )
    )


def _chat(text: str, tokens: int) -> bytes:
    choice = f'{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"length"}}'
    return _document("chat.completion", choice, tokens)


def _completion(text: str, tokens: int) -> bytes:
    return _document("text_completion", f'{{"index":0,"text":"{text}","finish_reason":"length"}}', tokens)


def _document(kind: str, choice: str, tokens: int) -> bytes:
    return (
        f'{{"id":"{_ID}","object":"{kind}","created":1700000000,"model":"stub","choices":[{choice}],{_counts(tokens)}}}'
    ).encode()


def _counts(tokens: int) -> str:
    total = _PROMPT_TOKENS + tokens
    return f'"usage":{{"prompt_tokens":{_PROMPT_TOKENS},"completion_tokens":{tokens},"total_tokens":{total}}}'


def _chat_chunk(delta: str, reason: str) -> bytes:
    return _chunk_document("chat.completion.chunk", f'{{"index":0,"delta":{delta},"finish_reason":{reason}}}')


def _text_chunk(text: str, reason: str) -> bytes:
    return _chunk_document("text_completion", f'{{"index":0,"text":"{text}","finish_reason":{reason}}}')


def _chunk_document(kind: str, choice: str) -> bytes:
    return f'{{"id":"{_ID}","object":"{kind}","created":1700000000,"model":"stub","choices":[{choice}]}}'.encode()


def _usage(shape: Shape, tokens: int) -> bytes:
    kind = "chat.completion.chunk" if shape == "chat" else "text_completion"
    return (
        f'{{"id":"{_ID}","object":"{kind}","created":1700000000,"model":"stub","choices":[],{_counts(tokens)}}}'
    ).encode()


_ANSWERS: dict[Shape, Callable[[str, int], bytes]] = {
    "tgi": lambda text, tokens: b"[%s]" % _tgi(text, tokens),
    "tgi_object": _tgi,
    "chat": _chat,
    "completion": _completion,
}
