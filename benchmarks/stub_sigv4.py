"""A strict check of AWS's Signature Version 4 on one request, written from the specification and sharing no code.

Source: AWS, "Create a signed AWS API request".
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

ACCESS_KEY = "AKIDSTUBSTUBSTUBSTUB"
SECRET_KEY = "stub-secret-of-no-account"  # noqa: S105 - opens nothing
REGION = "eu-central-1"
SERVICE = "sagemaker"
MOST_SKEW = dt.timedelta(minutes=5)
_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=(?P<key>[^/]+)/(?P<day>\d{{8}})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def objection(method: str, path: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """What is wrong with a request's signature; `None` when nothing is. Header names are in lower case."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        return "no signature, or not of this form"
    wrong = _wrong_scope(found, headers) or _wrong_headers(found["signed"].split(";"), headers, body)
    if wrong:
        return wrong
    expected = _signature(found, method, path, headers, body)
    return None if hmac.compare_digest(expected, found["signature"]) else "the signature does not match"


def _wrong_scope(found: re.Match[str], headers: Mapping[str, str]) -> str | None:
    if (found["key"], found["region"], found["service"]) != (ACCESS_KEY, REGION, SERVICE):
        return "wrong key, region or service"
    try:
        when = dt.datetime.strptime(headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return "no X-Amz-Date"
    if abs(dt.datetime.now(tz=dt.UTC) - when) > MOST_SKEW:
        return "signature expired or not yet valid"
    return None if headers["x-amz-date"].startswith(found["day"]) else "the day is not that of X-Amz-Date"


def _wrong_headers(signed: list[str], headers: Mapping[str, str], body: bytes) -> str | None:
    must = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if signed != sorted(signed) or not must <= set(signed) or not set(signed) <= set(headers):
        return "signed headers are out of order, incomplete or not there"
    claimed = headers.get("x-amz-content-sha256")
    return None if claimed in {None, hashlib.sha256(body).hexdigest()} else "the body is not the signed one"


def _signature(found: re.Match[str], method: str, path: str, headers: Mapping[str, str], body: bytes) -> str:
    bare, _, query = path.partition("?")
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in found["signed"].split(";")]
    canonical = "\n".join(
        [
            method,
            quote(bare, safe="/-_.~"),
            "&".join(sorted(query.split("&"))) if query else "",
            *lines,
            "",
            found["signed"],
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{found['day']}/{found['region']}/{found['service']}/aws4_request"
    text = f"{_ALGORITHM}\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(_key(found["day"]), text.encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=4)
def _key(day: str) -> bytes:
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, REGION, SERVICE, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
