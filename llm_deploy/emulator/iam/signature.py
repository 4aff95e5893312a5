"""AWS signature version 4, checked: in the Authorization header, or in the query of a presigned URL.

Source: "Signature Version 4 signing process" and "Create a signed AWS API request", IAM user guide; for S3's payloads
"Authenticating Requests (AWS Signature Version 4)", S3 API reference.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote_plus

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_STAMP = "%Y%m%dT%H%M%SZ"
_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]*)\s*(?:,|$)")
_SCOPE_PARTS = 5
_MOST_DIGITS = 9
_SPACES = re.compile(r" +")

RawHeaders = Sequence[tuple[bytes, bytes]]


class MalformedSignatureError(Exception):
    """There is a signature, and it cannot be read; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as it was sent.

    Attributes:
        date, region, service: The credential's scope.
        stamp: X-Amz-Date: `20260101T120000Z`.
        valid_s: How long a presigned request is valid; `None` when it is not presigned.
        token: Session token; part of what is signed.
    """

    access_key: str
    date: str
    region: str
    service: str
    stamp: str
    signed_headers: tuple[str, ...]
    value: str
    token: str | None
    valid_s: int | None = None

    @property
    def signed_at(self) -> float:
        """Seconds since the epoch.

        Raises:
            MalformedSignatureError: The time stamp is none.
        """
        return epoch_of(self.stamp)


@dataclass(frozen=True, slots=True)
class Signed:
    """What is signed of a request.

    Attributes:
        raw_path: As it was sent, still percent-encoded.
        query: As it was sent, without the question mark.
        payload_hash: Of the body; or what S3 has in its place (`UNSIGNED-PAYLOAD`).
    """

    method: str
    raw_path: str
    query: str
    headers: RawHeaders
    payload_hash: str


def read_signature(query: str, headers: RawHeaders) -> Signature | None:
    """The signature of a request; `None` when it has none.

    Raises:
        MalformedSignatureError: It has one that cannot be read.
    """
    authorization = header(headers, b"authorization")
    if authorization is not None and authorization.startswith(ALGORITHM):
        return _of_header(authorization, headers)
    if authorization is not None and authorization.startswith("AWS"):
        raise MalformedSignatureError(f"Only {ALGORITHM} is supported.")
    if "X-Amz-Credential" in query:
        return _of_query(dict(parse_qsl(query, keep_blank_values=True)))
    return None


def matches(signature: Signature, signed: Signed, secret: str) -> bool:
    """Whether the signature was made with this secret, of this request."""
    expected = sign(signature, signed, secret)
    return hmac.compare_digest(expected.encode(), signature.value.encode("utf-8", "replace"))


def sign(signature: Signature, signed: Signed, secret: str) -> str:
    """The value that a signature of this scope must have."""
    scope = f"{signature.date}/{signature.region}/{signature.service}/aws4_request"
    digest = hashlib.sha256(canonical_request(signature, signed).encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{signature.stamp}\n{scope}\n{digest}"
    key = signing_key(secret, signature.date, signature.region, signature.service)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def canonical_request(signature: Signature, signed: Signed) -> str:
    """The text whose hash is signed."""
    return "\n".join(
        (
            signed.method,
            _canonical_path(signed.raw_path, plain=signature.service == "s3"),
            _canonical_query(signed.query),
            *(f"{name}:{_canonical_header(signed.headers, name)}" for name in signature.signed_headers),
            "",
            ";".join(signature.signed_headers),
            signed.payload_hash,
        )
    )


@lru_cache(maxsize=256)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def header(headers: RawHeaders, name: bytes) -> str | None:
    """The last header of a name in lower case."""
    found = [value for each, value in headers if each == name]
    return found[-1].decode("latin-1") if found else None


def epoch_of(stamp: str) -> float:
    """Seconds since the epoch of a time stamp as signatures have it.

    Raises:
        MalformedSignatureError: It is none.
    """
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise MalformedSignatureError("Date must be in ISO-8601 'basic format'.") from error


def stamp_of(moment: float) -> str:
    """A moment as signatures have it."""
    return datetime.fromtimestamp(moment, UTC).strftime(_STAMP)


def _of_header(authorization: str, headers: RawHeaders) -> Signature:
    parts = dict(_PART.findall(authorization[len(ALGORITHM) :]))
    stamp = header(headers, b"x-amz-date") or _stamp_of_date(header(headers, b"date"))
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if not parts.get(name)]
    if missing or not stamp:
        wanted = [f"'{name}' parameter" for name in missing] or ["'X-Amz-Date' or 'Date' header"]
        raise MalformedSignatureError(" ".join(f"Authorization header requires {each}." for each in wanted))
    return Signature(
        *_scope(parts["Credential"]),
        stamp=stamp,
        signed_headers=_signed_headers(parts["SignedHeaders"]),
        value=parts["Signature"],
        token=header(headers, b"x-amz-security-token"),
    )


def _of_query(query: dict[str, str]) -> Signature:
    needed = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature")
    missing = [name for name in needed if not query.get(name)]
    if missing or query["X-Amz-Algorithm"] != ALGORITHM:
        raise MalformedSignatureError(f"AWS query-string parameters must include {', '.join(missing or needed[:1])}.")
    valid = query.get("X-Amz-Expires", "900")
    if not valid.isascii() or not valid.isdigit() or len(valid) > _MOST_DIGITS:
        raise MalformedSignatureError("X-Amz-Expires must be a number.")
    return Signature(
        *_scope(query["X-Amz-Credential"]),
        stamp=query["X-Amz-Date"],
        signed_headers=_signed_headers(query["X-Amz-SignedHeaders"]),
        value=query["X-Amz-Signature"],
        token=query.get("X-Amz-Security-Token"),
        valid_s=int(valid),
    )


def _scope(credential: str) -> tuple[str, str, str, str]:
    # An access key may itself have slashes; the scope has none.
    parts = credential.rsplit("/", _SCOPE_PARTS - 1)
    if len(parts) != _SCOPE_PARTS or parts[-1] != "aws4_request" or not all(parts):
        raise MalformedSignatureError("Credential must have exactly 5 slash-delimited elements.")
    return parts[0], parts[1], parts[2], parts[3]


def _signed_headers(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.lower().split(";")))


def _stamp_of_date(date: str | None) -> str | None:
    """A Date header as a time stamp; both of its forms occur."""
    if date is None:
        return None
    for form in (_STAMP, "%a, %d %b %Y %H:%M:%S GMT"):
        try:
            return datetime.strptime(date, form).replace(tzinfo=UTC).strftime(_STAMP)
        except ValueError:
            continue
    return None


def _canonical_path(raw_path: str, *, plain: bool) -> str:
    """S3 signs the path as it is sent; the others one that is tidied, and encoded once more."""
    if plain:
        return raw_path or "/"
    return quote(_tidied(raw_path), safe="/~")


def _tidied(path: str) -> str:
    """Without empty segments and dots (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept[-1:] = []
        elif segment not in {"", "."}:
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return "/" + "/".join(kept) + end


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name and unquote_plus(name) != "X-Amz-Signature":
            pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote_plus(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")


def _canonical_header(headers: RawHeaders, name: str) -> str:
    wanted = name.encode("latin-1", "replace")
    return ",".join(_trimmed(value) for value in _values(headers, wanted))


def _values(headers: RawHeaders, name: bytes) -> Iterable[bytes]:
    return (value for each, value in headers if each == name)


def _trimmed(value: bytes) -> str:
    return _SPACES.sub(" ", value.decode("utf-8", "surrogateescape").strip())
