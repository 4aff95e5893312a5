"""Who gets in at the cloud's own services, for whom stacks act, and what is on record."""

from __future__ import annotations

from typing import Any

import pytest

from llm_deploy.emulator import ledger
from tests.unit.emulator.iam.gatehouse import ACCOUNT, REGION, ROOT, Gatehouse, allow
from tests.unit.emulator.world import IMAGE

AT = f"{REGION}:{ACCOUNT}"
MODEL = f"arn:aws:sagemaker:{AT}:model"
INVOCATION = "/endpoints/e/invocations"
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"
CONTAINER = {"Image": IMAGE}


def test_the_root_may_everything(gatehouse: Gatehouse) -> None:
    """Ledger: access.root."""
    assert gatehouse.call(ROOT, "sagemaker", "ListEndpoints").status == 200


@pytest.mark.parametrize(
    ("who", "code", "words"),
    [
        (("AKIANOBODY", "x"), "UnrecognizedClientException", "access.unknown-key"),
        ((ROOT[0], "wrong"), "InvalidSignatureException", "access.wrong-signature"),
        ((*ROOT, "a token that is not its own"), "UnrecognizedClientException", "access.unknown-key"),
        (None, "MissingAuthenticationTokenException", "access.missing"),
    ],
)
def test_a_bad_signature_is_refused(gatehouse: Gatehouse, who: Any, code: str, words: str) -> None:  # noqa: ANN401 - a tuple or nothing
    """With AWS's code and words; 400 by the RPC services, 403 by the runtime.

    Ledger: access.unknown-key, access.wrong-signature, access.missing.
    """
    target = {"x-amz-target": "SageMaker.ListEndpoints"}
    rpc = gatehouse.ask(who, "sagemaker", body=b"{}", headers=target)
    assert (rpc.status, rpc.code, rpc.document["message"]) == (400, code, ledger.text(words))
    rest = gatehouse.ask(who, "sagemaker", path=INVOCATION, body=b"{}")
    assert (rest.status, rest.headers["x-amzn-errortype"]) == (403, code)


def test_the_query_protocol_has_its_own_codes(gatehouse: Gatehouse) -> None:
    """CloudWatch's forms are answered in XML."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = b"Action=ListMetrics&Version=2010-08-01"
    found = gatehouse.ask(("AKIANOBODY", "x"), "monitoring", body=body, headers=form)
    assert found.status == 403
    assert b"<Code>InvalidClientTokenId</Code>" in found.body
    ann = gatehouse.user("ann")
    denied = gatehouse.ask(ann, "monitoring", body=body, headers=form)
    assert denied.status == 403
    assert b"<Code>AccessDenied</Code>" in denied.body
    assert b"is not authorized to perform: cloudwatch:ListMetrics on resource: * because" in denied.body


@pytest.mark.parametrize(
    ("minutes", "code"),
    [(-4.9, ""), (4.9, ""), (-5.1, "InvalidSignatureException"), (5.1, "InvalidSignatureException")],
)
def test_a_wrong_clock_is_refused(gatehouse: Gatehouse, minutes: float, code: str) -> None:
    """After five minutes, in both directions. Ledger: access.too-late, access.too-early."""
    target = {"x-amz-target": "SageMaker.ListEndpoints"}
    moment = gatehouse.clock.now() + minutes * 60
    found = gatehouse.ask(ROOT, "sagemaker", body=b"{}", headers=target, signed_at=moment)
    assert found.code == code
    if code:
        words = "Signature expired: " if minutes < 0 else "Signature not yet current: "
        assert found.document["message"].startswith(words)
        assert found.document["message"].endswith(f"{'-' if minutes < 0 else '+'} 5 min.)")


def test_a_signature_is_for_one_body(gatehouse: Gatehouse) -> None:
    """Whoever changes the body after it was signed is found out."""
    target = {"x-amz-target": "SageMaker.ListModels"}
    assert gatehouse.ask(ROOT, "sagemaker", body=b"{}", headers=target).status == 200
    found = gatehouse.ask(ROOT, "sagemaker", body=b"{}", headers=target, sent_body=b'{"MaxResults": 1}')
    assert found.code == "InvalidSignatureException"


def test_temporary_credentials_end(gatehouse: Gatehouse) -> None:
    """And need their token as long as they last. Ledger: access.expired-token."""
    gatehouse.role("r", allow("sagemaker:*"))
    key, secret, token = gatehouse.session("r", expires_in_s=60)
    assert gatehouse.call((key, secret, token), "sagemaker", "ListEndpoints").status == 200
    assert gatehouse.call((key, secret), "sagemaker", "ListEndpoints").code == "UnrecognizedClientException"
    assert gatehouse.call((key, secret, "x"), "sagemaker", "ListEndpoints").code == "UnrecognizedClientException"
    gatehouse.records["sessions"][key]["expires_at"] = gatehouse.clock.now()
    found = gatehouse.call((key, secret, token), "sagemaker", "ListEndpoints")
    assert (found.code, found.document["message"]) == ("ExpiredTokenException", ledger.text("access.expired-token"))


def test_stacks_act_for_whoever_asked_for_them(gatehouse: Gatehouse) -> None:
    """Unsigned, with the key that no client knows; with that one's permissions, and aws:CalledVia says so.

    Ledger: access.stacks.
    """
    via = {"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}}
    gatehouse.user("ann", allow("sagemaker:ListModels", when=via))
    target = {"x-amz-target": "SageMaker.ListModels"}
    unsigned = ("AKIAann", "not the secret")

    def ask(**more: str) -> Any:  # noqa: ANN401 - an answer
        return gatehouse.ask(unsigned, "sagemaker", body=b"{}", headers=target | more)

    assert ask(**{"x-local-cloud-key": "own"}).status == 200
    assert ask(**{"x-local-cloud-key": "guessed"}).code == "InvalidSignatureException"
    direct = gatehouse.ask(("AKIAann", "secret"), "sagemaker", body=b"{}", headers=target)
    assert direct.code == "AccessDeniedException"


def test_every_decision_is_on_record(gatehouse: Gatehouse) -> None:
    """Allowed and denied ones, until they are deleted."""
    role = gatehouse.role("execution", allow("*"))
    ann = gatehouse.user("ann", allow("sagemaker:CreateModel", "iam:PassRole"))
    gatehouse.call(ann, "sagemaker", "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer=CONTAINER)
    gatehouse.call(ann, "sagemaker", "DeleteModel", ModelName="m")
    gatehouse.call(ROOT, "sagemaker", "ListModels")
    assert gatehouse.log() == [
        (ANN, "sagemaker:CreateModel", f"{MODEL}/m", True),
        (ANN, "iam:PassRole", role, True),
        ("sagemaker.amazonaws.com", "sts:AssumeRole", role, True),
        (ANN, "sagemaker:DeleteModel", f"{MODEL}/m", False),
        (f"arn:aws:iam::{ACCOUNT}:root", "sagemaker:ListModels", "*", True),
    ]
    gatehouse.cloud.local["DELETE", "/_local/authorizations"]()
    assert gatehouse.log() == []
