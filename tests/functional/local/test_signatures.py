"""Signatures: who gets in, with every protocol."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.targets.local import LocalCloud
from tests.functional.local.conftest import Running
from tests.functional.local.people import allow, fetch, new_user, refused


@pytest.mark.parametrize(
    ("service", "operation", "unknown", "wrong"),
    [
        ("sagemaker", "list_models", (400, "UnrecognizedClientException"), (400, "InvalidSignatureException")),
        ("logs", "describe_log_groups", (400, "UnrecognizedClientException"), (400, "InvalidSignatureException")),
        ("secretsmanager", "list_secrets", (400, "UnrecognizedClientException"), (400, "InvalidSignatureException")),
        ("iam", "list_users", (403, "InvalidClientTokenId"), (403, "SignatureDoesNotMatch")),
        ("sts", "get_caller_identity", (403, "InvalidClientTokenId"), (403, "SignatureDoesNotMatch")),
        ("cloudformation", "list_stacks", (403, "InvalidClientTokenId"), (403, "SignatureDoesNotMatch")),
        ("s3", "list_buckets", (403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch")),
    ],
)
def test_bad_credentials_are_refused_by_every_service(
    running: Running, service: str, operation: str, unknown: tuple[int, str], wrong: tuple[int, str]
) -> None:
    """With the code of its protocol. Ledger: access.unknown-key, access.wrong-signature, access.s3.unknown-key."""
    nobody = running.client(service, aws_access_key_id="AKIANOBODY", aws_secret_access_key="x")
    assert refused(getattr(nobody, operation))[:2] == unknown
    liar = running.client(service, aws_secret_access_key="wrong")
    assert refused(getattr(liar, operation))[:2] == wrong


def test_presigned_urls_and_anonymous_requests(running: Running, bucket: str) -> None:
    """A URL works as long as it is valid and whole; nobody without one gets in. Ledger: access.s3.denied."""
    keys = new_user(running, allow("s3:GetObject", "s3:PutObject"))
    s3 = running.client("s3", **keys)
    s3.put_object(Bucket=bucket, Key="a b/ü+", Body=b"hello")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/ü+"}, ExpiresIn=60)
    short = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/ü+"}, ExpiresIn=1)
    assert fetch(url) == (200, b"hello")
    assert fetch(url.replace(bucket, bucket[:-1] + "x"))[0] == 403
    status, body = fetch(url.partition("?")[0])
    assert (status, b"<Message>Access Denied</Message>" in body) == (403, True)
    time.sleep(2.1)
    status, body = fetch(short)
    assert (status, b"<Message>Request has expired</Message>" in body) == (403, True)


def test_the_backend_s_own_doors_are_shut(running: Running) -> None:
    """One of them forgets the whole account, and another tells its secrets; they would ask nobody who they are."""
    url = running.cloud.environment()["AWS_ENDPOINT_URL"]
    before = running.client("iam").list_roles()["Roles"]
    for method, path in (("POST", "/_ministack/reset"), ("GET", "/_ministack/health"), ("POST", "/_ministack/config")):
        assert fetch(url + path, method)[0] == 501
    status, body = fetch(f"{url}/", headers={"x-local-cloud-question": "iam", "x-local-cloud-caller": "LOCALCLOUD"})
    assert (status, b"SecretAccessKey" in body, b"secret" in body) == (403, False, False)
    assert running.client("iam").list_roles()["Roles"] == before


def test_a_body_that_was_not_signed_changes_nothing(running: Running, bucket: str) -> None:
    """The hash is checked before the object is. Ledger: access.s3.wrong-payload."""
    s3 = running.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")

    def tamper(request: Any, **_: Any) -> None:  # noqa: ANN401 - botocore's
        request.body = b"beyond" * 100_000
        request.headers["Content-Length"] = str(len(request.body))

    s3.meta.events.register("before-send.s3.PutObject", tamper)
    _, code, _ = refused(s3.put_object, Bucket=bucket, Key="k", Body=b"after!" * 100_000)
    assert code == "XAmzContentSHA256Mismatch"
    assert running.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"before"


def test_without_iam_everybody_is_let_in(tmp_path: Path) -> None:
    """`local up --no-iam`, which the status shows, and which a cloud that enforces it is not taken for."""
    cloud = LocalCloud(tmp_path / "home")
    status = cloud.ensure_running(port=0, speed=1000, iam=False)
    try:
        assert not status.iam
        running = Running(cloud)
        for service, operation in (("sagemaker", "list_models"), ("iam", "list_users"), ("s3", "list_buckets")):
            stranger = running.client(service, aws_access_key_id="AKIANOBODY", aws_secret_access_key="x")
            getattr(stranger, operation)()
    finally:
        cloud.stop()
