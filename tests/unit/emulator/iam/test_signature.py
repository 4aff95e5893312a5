"""Signatures, compared with those of botocore, which nobody here wrote."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, strategies as st

from llm_deploy.emulator.iam.signature import (
    UNSIGNED_PAYLOAD,
    MalformedSignatureError,
    Signed,
    matches,
    read_signature,
)

KEY, SECRET, TOKEN = "AKIAEXAMPLE", "se/cr+et", "to/ken=="
REGION = "eu-central-1"

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
odd = st.sampled_from(["a b", "ü/ö", "a+b", "%41", "~._-", "a//b", "!*'()", "=&?", "日本"])


def sent(
    auth: type[SigV4Auth], service: str, request: AWSRequest, *, token: str | None = None
) -> tuple[AWSRequest, Signed]:
    """A request as botocore signs and sends it, and what of it is signed."""
    auth(Credentials(KEY, SECRET, token), service, REGION).add_auth(request)
    prepared = request.prepare()
    url = urlsplit(prepared.url)
    headers = [
        (name.lower().encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in prepared.headers.items()
    ]
    if not any(name == b"host" for name, _ in headers):
        headers.append((b"host", url.netloc.encode()))
    body = prepared.body or b""
    payload = hashlib.sha256(body if isinstance(body, bytes) else body.encode()).hexdigest()
    return request, Signed(prepared.method, url.path, url.query, headers, payload)


def check(signed: Signed, secret: str = SECRET) -> bool:
    """Whether a request's own signature fits."""
    signature = read_signature(signed.query, signed.headers)
    assert signature is not None
    return matches(signature, signed, secret)


@given(
    st.one_of(texts, odd),
    st.dictionaries(st.one_of(texts, odd), st.one_of(texts, odd), max_size=3),
    st.binary(max_size=50),
)
def test_header_signatures_of_botocore_fit(name: str, query: dict[str, str], body: bytes) -> None:
    """With any path, query and body; with and without a session token; and not with another secret."""
    for token in (None, TOKEN):
        request = AWSRequest(
            "POST",
            f"http://127.0.0.1:4599/endpoints/{quote(name, safe='')}/invocations",
            data=body,
            params=query,
            headers={"X-Custom": "  two  spaces ", "Content-Type": "application/json"},
        )
        _, signed = sent(SigV4Auth, "sagemaker", request, token=token)
        assert check(signed)
        assert not check(signed, "another")


@given(st.one_of(texts, odd))
def test_s3_signs_the_path_as_it_is(key: str) -> None:
    """Keys keep their slashes and dots, and are encoded once."""
    request = AWSRequest("PUT", f"http://127.0.0.1:4599/bucket/{quote(key)}", data=b"x")
    request.context["payload_signing_enabled"] = True
    _, signed = sent(S3SigV4Auth, "s3", request)
    assert check(signed)


@given(st.one_of(texts, odd))
def test_presigned_urls_of_botocore_fit(key: str) -> None:
    """S3 leaves the payload out of them, other services do not."""
    request = AWSRequest("GET", f"http://127.0.0.1:4599/bucket/{quote(key)}")
    _, signed = sent(S3SigV4QueryAuth, "s3", request, token=TOKEN)
    assert check(replace(signed, payload_hash=UNSIGNED_PAYLOAD))
    _, signed = sent(
        SigV4QueryAuth, "sts", AWSRequest("GET", "http://127.0.0.1/", params={"Action": "GetCallerIdentity"})
    )
    assert check(signed)


def test_whatever_was_signed_cannot_be_changed() -> None:
    """Method, path, query, a signed header, the body: each breaks the signature. An unsigned header does not."""
    request = AWSRequest("POST", "http://h/a/b", data=b"x", params={"q": "1"}, headers={"X-Amz-Target": "T.Op"})
    _, signed = sent(SigV4Auth, "sagemaker", request)
    other_target = [(name, b"T.Other" if name == b"x-amz-target" else value) for name, value in signed.headers]
    for changed in (
        replace(signed, method="GET"),
        replace(signed, raw_path="/a/c"),
        replace(signed, query="q=2"),
        replace(signed, headers=other_target),
        replace(signed, payload_hash=hashlib.sha256(b"y").hexdigest()),
    ):
        assert not check(changed)
    assert check(replace(signed, headers=[*signed.headers, (b"x-forwarded-for", b"1.2.3.4")]))


def test_dots_and_empty_segments_are_tidied_except_by_s3() -> None:
    """Source: RFC 3986, 5.2.4, as botocore does it."""
    request = AWSRequest("GET", "http://h/a/./b//../c/")
    _, signed = sent(SigV4Auth, "sagemaker", request)
    assert check(signed)
    _, signed = sent(S3SigV4Auth, "s3", AWSRequest("GET", "http://h/bucket/a//../b"))
    claimed = next(value for name, value in signed.headers if name == b"x-amz-content-sha256")
    assert check(replace(signed, payload_hash=claimed.decode()))


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        ("AWS4-HMAC-SHA256 Credential=a/20260101/r/s/aws4_request, SignedHeaders=host", "'Signature' parameter"),
        ("AWS4-HMAC-SHA256 Credential=a/20260101/r/aws4_request, SignedHeaders=host, Signature=0", "5 slash-delimited"),
        ("AWS4-HMAC-SHA256 nothing", "'Credential' parameter"),
        ("AWS AKIA:signature", "Only AWS4-HMAC-SHA256"),
    ],
)
def test_what_cannot_be_read_says_what_is_missing(authorization: str, words: str) -> None:
    """Ledger: access.incomplete."""
    headers = [(b"authorization", authorization.encode()), (b"x-amz-date", b"20260101T000000Z")]
    with pytest.raises(MalformedSignatureError, match=words):
        read_signature("", headers)


def test_no_signature_is_none() -> None:
    """Neither a bearer token nor an ordinary query is one."""
    assert read_signature("a=b", [(b"authorization", b"Bearer x")]) is None
