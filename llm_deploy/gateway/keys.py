"""API keys: how they look, and what is kept of them. Pure, but for the system's random numbers.

A key is `llmd_<id>_<secret><checksum>`: a prefix by which secret scanners find leaks (`PATTERN`), a public id that may
be logged, 43 random characters of base 62 (256 bits), and six characters of CRC-32 that tell a mistyped or cut key from
an unknown one.

Kept is SHA-256 of the whole. A slow hash (bcrypt, argon2) protects what people choose, because guesses can be listed;
of 256 random bits no list exists, and 2^255 tries are out of reach for any hash. A slow one would only cost the gateway
10 to 100 ms a request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "llmd_"
ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 43
"""62^43 > 2^256."""
CHECKSUM_LENGTH: Final = 6
"""62^6 > 2^32."""
ID_OF_KEY: Final = slice(len(PREFIX), len(PREFIX) + ID_LENGTH)
LENGTH: Final = len(PREFIX) + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH
PATTERN: Final = rf"{PREFIX}[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"
"""For secret scanners."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made just now; the only object that ever holds a secret.

    Attributes:
        key_id: Its public part.
        secret: The whole key, to be shown once.
        digest: What is kept.
    """

    key_id: str
    secret: str = field(repr=False)
    digest: bytes = field(repr=False)


def new_key(key_id: str | None = None) -> NewKey:
    """Make a key; with a new secret for an old id where one is given."""
    key_id = key_id or _random(ID_LENGTH)
    body = f"{PREFIX}{key_id}_{_random(SECRET_LENGTH)}"
    secret = body + checksum(body)
    return NewKey(key_id, secret, digest(secret))


def digest(secret: str) -> bytes:
    """What is kept of a key, and compared: 32 bytes. Takes any text, also such as no key can be."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def checksum(body: str) -> str:
    """CRC-32 of all that stands before it, in base 62."""
    rest = zlib.crc32(body.encode("utf-8", "replace"))
    characters = []
    for _ in range(CHECKSUM_LENGTH):
        rest, place = divmod(rest, len(ALPHABET))
        characters.append(ALPHABET[place])
    return "".join(reversed(characters))


def flaw(secret: str) -> str | None:
    """Why this text cannot be a key of ours, in words fit for its sender; `None` where it could be one."""
    if not secret.startswith(PREFIX):
        return f"API keys of this gateway begin with {PREFIX}"
    if len(secret) != LENGTH:
        return f"this API key has {len(secret)} characters where {LENGTH} are needed: part of it is missing or added"
    if re.fullmatch(PATTERN, secret) is None or checksum(secret[:-CHECKSUM_LENGTH]) != secret[-CHECKSUM_LENGTH:]:
        return "this API key is mistyped: its checksum does not fit"
    return None


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
