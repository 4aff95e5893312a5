"""Our signatures against botocore's signer and against the local cloud's verifier."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings, strategies as st

from llm_deploy.client.wire.signature import Keys, SignedAddress
from llm_deploy.emulator.iam import signature as verifier
from llm_deploy.errors import SpecError

NOW_S = 1_790_000_000.0

visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF), min_size=1, max_size=12)
segments = st.one_of(
    names.map(lambda name: quote(name, safe="-._~")), st.sampled_from(["", ".", "..", "a b".replace(" ", "%20")])
)
paths = st.lists(segments, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))
hosts = st.sampled_from(["runtime.sagemaker.eu-central-1.amazonaws.com", "127.0.0.1:4599", "[::1]:8080", "localhost"])
headers = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Amzn-SageMaker-Inference-Component", "X-Amzn-SageMaker-Session-Id", "Accept"]),
    values,
)  # fmt: skip
keys = st.builds(
    Keys,
    visible.filter(lambda text: "/" not in text and "," not in text and "=" not in text),
    visible,
    st.none() | visible,
)


def parsed(head: bytes) -> tuple[str, list[tuple[bytes, bytes]]]:
    """A request head as a server reads it: the path, and the headers by lower-case name."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, path, version = first.decode("latin-1").split(" ")
    assert (method, version) == ("POST", "HTTP/1.1")
    pairs = (line.partition(b":") for line in lines)
    return path, [(name.lower(), value.strip()) for name, _, value in pairs]


@dataclass(frozen=True)
class Request:
    """What is signed, but for keys and time."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes


requests = st.builds(Request, hosts, paths, headers, st.binary(max_size=200))


def botocores(request: Request, of: Keys, now_s: float) -> str:
    """The Authorization header that botocore makes for the same request."""
    asked = AWSRequest(
        "POST", f"https://{request.host}{request.path}", {"Host": request.host, **request.headers}, request.body
    )
    signer = SigV4Auth(Credentials(of.access_key, of.secret_key, of.token), "sagemaker", "eu-central-1")
    moment = dt.datetime.fromtimestamp(now_s, dt.UTC).replace(tzinfo=None)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        signer.add_auth(asked)
    return str(asked.headers["Authorization"])


@settings(deadline=None)
@given(requests, keys, st.integers(0, 4_000_000_000))
def test_a_signature_is_botocores_and_a_strict_server_takes_it(request: Request, of: Keys, now_s: int) -> None:
    """Whatever the path, the host, the port, the headers, the body, the keys and the time are."""
    address = SignedAddress(host=request.host, path=request.path, headers=request.headers, region="eu-central-1")
    sent_path, sent = parsed(address.head(request.body, of, now_s))
    assert sent_path == request.path
    found = dict(sent)
    assert found[b"authorization"].decode() == botocores(request, of, now_s)
    assert int(found[b"content-length"]) == len(request.body)
    read = verifier.read_signature("", sent)
    assert read is not None
    payload_hash = hashlib.sha256(request.body).hexdigest()
    assert verifier.matches(read, verifier.Signed("POST", request.path, "", sent, payload_hash), of.secret_key)
    assert read.signed_at == now_s


def test_what_changes_is_signed_anew() -> None:
    """Another second, another day, other keys and another body each give another signature; the same gives the same."""
    address = SignedAddress(host="h", path="/endpoints/twin/invocations", headers={}, region="eu-central-1")
    one, other = Keys("AKIA1", "secret"), Keys("ASIA2", "secret2", "token")

    def signed(body: bytes, of: Keys, now_s: float) -> str:
        return dict(parsed(address.head(body, of, now_s))[1])[b"authorization"].decode()

    first = signed(b"a", one, NOW_S)
    assert signed(b"a", one, NOW_S + 0.4) == first
    variants = [
        signed(b"b", one, NOW_S),
        signed(b"a", one, NOW_S + 1),
        signed(b"a", one, NOW_S + 86_400),
        signed(b"a", other, NOW_S),
    ]
    assert len({first, *variants}) == 5
    assert signed(b"a", one, NOW_S) == first


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "h\r\nX: y"}, {"path": "/a b"}, {"path": "a"}, {"path": "/a\r\nX: y"}, {"path": "/a\n"},
        {"headers": {"X": "a\r\nb"}}, {"headers": {"X": "a\nb"}}, {"headers": {"X:": "a"}}, {"headers": {"": "a"}},
        {"headers": {"X": "\u20ac"}}, {"headers": {"X\n": "a"}}, {"headers": {"X": "a\x00"}},
    ],
)  # fmt: skip
def test_nothing_can_break_out_of_its_line(wrong: dict[str, Any]) -> None:
    """A header's value may come from a user, who must not be able to add headers or requests."""
    with pytest.raises(SpecError):
        SignedAddress(**{"host": "h", "path": "/a", "headers": {}, "region": "eu-central-1", **wrong})


def test_a_token_can_not_break_out_either_and_no_secret_is_shown() -> None:
    """Errors and representations of keys say no secret."""
    bad = Keys("AKIA1", "very-secret", "to\r\nken")
    assert "very-secret" not in repr(bad)
    assert "ken" not in repr(bad).replace("Keys", "").replace("token", "")
    address = SignedAddress(host="h", path="/a", headers={}, region="eu-central-1")
    with pytest.raises(SpecError) as raised:
        address.head(b"", bad, time.time())
    assert "ken" not in raised.value.message.replace("X-Amz-Security-Token", "")
    with pytest.raises(SpecError):
        address.head(b"", Keys("AKIA1\r\nX: y", "very-secret"), time.time())
    address.head(b"", Keys("AKIA1", "very-secret", "to-ken"), time.time())
    assert "to-ken" not in repr(address._second)
    assert "key=b" not in repr(address._second)
