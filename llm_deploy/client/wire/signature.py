"""AWS signature version 4 for one address that is called again and again.

What a request costs is what changes: the body's hash and the time. The rest of what is signed, and of what is sent,
is put together once a second; the signing key once a day.

Source: "Create a signed AWS API request", IAM user guide.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from hmac import digest
from typing import Any, Final
from urllib.parse import quote

from llm_deploy.errors import SpecError

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = frozenset({"connection", "content-length", "expect", "transfer-encoding", "user-agent"})
"""Headers that something on the way may change, by lower-case name; the others are signed."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs a request. `token` comes with temporary keys and is part of what is signed."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Second:
    """What all requests of one second, signed with the same keys, have alike."""

    number: int
    keys: Keys
    hashed: Any
    to_sign: bytes
    key: bytes = field(repr=False)
    head: bytes = field(repr=False)


class SignedAddress:
    """Makes the heads of POST requests to one address. Safe to use from several threads at once.

    Args:
        host: As the Host header has it: with the port where it is not the scheme's own.
        path: As it is sent, percent-encoded.
        headers: Constant headers, by name; all but `UNSIGNED` are signed.

    Raises:
        SpecError: A header, the host or the path has a character that would end it.
    """

    def __init__(
        self, *, host: str, path: str, headers: Mapping[str, str], region: str, service: str = "sagemaker"
    ) -> None:
        self._region = region
        self._service = service
        self._path = path
        self._headers = {"Host": host, **headers}
        check_request(path, self._headers)
        self._second: _Second | None = None

    def head(self, body: bytes, keys: Keys, now_s: float) -> bytes:
        """The whole head of a request with this body, up to and including its blank line.

        `now_s` are seconds since the epoch, by AWS's clock as far as it is known.
        """
        second = self._second
        number = int(now_s)
        if second is None or second.number != number or second.keys is not keys:
            second = self._second = self._begin(number, keys)
        hashed = second.hashed.copy()
        hashed.update(sha256(body).hexdigest().encode())
        signature = _signed(second.key, second.to_sign + hashed.hexdigest().encode())
        return b"%b%b\r\nContent-Length: %d\r\n\r\n" % (second.head, signature.encode(), len(body))

    def _begin(self, number: int, keys: Keys) -> _Second:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(number))
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        headers = {**self._headers, "X-Amz-Date": stamp}
        if keys.token is not None:
            headers["X-Amz-Security-Token"] = keys.token
        credential = f"{ALGORITHM} Credential={keys.access_key}/{scope}"
        check_request(self._path, {"X-Amz-Security-Token": keys.token or "", "Authorization": credential})
        canonical, names = _canonical(headers)
        request = f"POST\n{_canonical_path(self._path)}\n\n{canonical}\n\n{names}\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        authorization = f"{credential}, SignedHeaders={names}, Signature="
        return _Second(
            number,
            keys,
            sha256(request.encode("latin-1")),
            f"{ALGORITHM}\n{stamp}\n{scope}\n".encode(),
            _signing_key(keys.secret_key, stamp[:8], self._region, self._service),
            f"POST {self._path} HTTP/1.1\r\n{lines}Authorization: {authorization}".encode("latin-1"),
        )


def check_request(path: str, headers: Mapping[str, str]) -> None:
    """Refuse what would break out of its line.

    Raises:
        SpecError: The path or a header's name or value has such a character; values are not repeated.
    """
    if not re.fullmatch(r"/[\x21-\x7e]*", path):
        raise SpecError(f"not a path of an HTTP request: {path!r}")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise SpecError(f"the header {name!r} has a character that no header can have")


def _canonical(headers: Mapping[str, str]) -> tuple[str, str]:
    """The signed headers as they are signed, and their names."""
    signed = sorted((name.lower(), value) for name, value in headers.items() if name.lower() not in UNSIGNED)
    lines = "\n".join(f"{name}:{_SPACES.sub(' ', value.strip())}" for name, value in signed)
    return lines, ";".join(name for name, _ in signed)


def _canonical_path(path: str) -> str:
    """Without empty segments and dots, and encoded once more, as every service but S3 has it."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept[-1:] = []
        elif segment not in {"", "."}:
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return quote("/" + "/".join(kept) + end, safe="/~")


def _signed(key: bytes, text: bytes) -> str:
    """The HMAC of a text, as `hmac` makes it, but that the key is taken in once and not with each request."""
    of_inner, of_outer = _begun(key)
    inner, outer = of_inner.copy(), of_outer.copy()
    inner.update(text)
    outer.update(inner.digest())
    return outer.hexdigest()  # type: ignore[no-any-return] # hashlib's objects have no name


@lru_cache(maxsize=64)
def _begun(key: bytes) -> tuple[Any, Any]:
    """The two hashes of HMAC with what they begin with. Source: RFC 2104; keys are 32 bytes here, a block is 64."""
    padded = key.ljust(64, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in padded)), sha256(bytes(byte ^ 0x5C for byte in padded))


@lru_cache(maxsize=64)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = digest(key, part.encode(), "sha256")
    return key
