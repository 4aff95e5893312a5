"""AWS's event-stream frames, written.

A frame is a prelude (total length, header length), its CRC, headers, payload, and a CRC of all of it.
Source: "Event stream encoding", AWS Transcribe developer guide; read back by botocore and by the JS SDK.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import lru_cache
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7
_OVERHEAD = 16
"""Bytes of prelude, its CRC and the message's CRC."""


def payload_part(data: bytes) -> bytes:
    """The frame of a PayloadPart event."""
    return frame(_headers("event", "PayloadPart", "application/octet-stream"), data)


def failure(exception: str, fields: Mapping[str, str]) -> bytes:
    """The frame of an exception in the middle of a stream, for example `ModelStreamError`."""
    return frame(_headers("exception", exception, "application/json"), json.dumps(dict(fields)).encode())


def frame(headers: bytes, payload: bytes) -> bytes:
    """One frame of encoded headers and a payload."""
    prelude = struct.pack(">II", len(headers) + len(payload) + _OVERHEAD, len(headers))
    checked = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return checked + struct.pack(">I", crc32(checked))


@lru_cache
def _headers(message_type: str, type_name: str, content_type: str) -> bytes:
    named = {
        f":{message_type}-type": type_name,
        ":content-type": content_type,
        ":message-type": message_type,
    }
    return b"".join(_header(name, value) for name, value in named.items())


def _header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(value)) + value.encode()
