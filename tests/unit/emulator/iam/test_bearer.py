"""Bearer tokens of the OpenAI path, made by botocore as SageMaker's SDK makes them, and what can be wrong with one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import auth
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.emulator.iam.bearer import read_token
from llm_deploy.emulator.iam.signature import MalformedSignatureError
from tests.unit.emulator.iam.gatehouse import ACCOUNT, REGION, ROOT, Answer, Gatehouse, allow

PATH = "/endpoints/e/openai/v1/chat/completions"
COMPONENT_PATH = "/endpoints/e/inference-components/c/openai/v1/chat/completions"
ENDPOINT = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/e"
COMPONENT = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:inference-component/c"
TOKEN, INVOKE = "sagemaker:CallWithBearerToken", "sagemaker:InvokeEndpoint"
HOST = "sagemaker.amazonaws.com"

Make = Callable[..., str]


@pytest.fixture
def token(gatehouse: Gatehouse, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes tokens at the gatehouse's time."""
    monkeypatch.setattr(
        auth,
        "get_current_datetime",
        lambda **_: datetime.fromtimestamp(gatehouse.clock.now(), UTC).replace(tzinfo=None),
    )
    return make_token


def make_token(who: tuple[str, ...], **changed: Any) -> str:  # noqa: ANN401 - what the token is made of
    """The value of an Authorization header."""
    usual = {"region": REGION, "expires": 43200, "service": "sagemaker", "host": HOST, "method": "POST"}
    usual |= {"action": "CallWithBearerToken", "end": "&Version=1", "prefix": "Bearer sagemaker-api-key-"}
    made: dict[str, Any] = usual | changed
    request = AWSRequest(
        method=made["method"],
        url=f"https://{made['host']}/",
        headers={"host": made["host"]},
        params={"Action": made["action"]},
    )
    SigV4QueryAuth(Credentials(*who), made["service"], made["region"], expires=made["expires"]).add_auth(request)
    url = request.url.replace("https://", "") + made["end"]
    return str(made["prefix"]) + base64.b64encode(url.encode()).decode()


def ask(gatehouse: Gatehouse, authorization: str, path: str = PATH, **headers: str) -> Answer:
    return gatehouse.ask(None, "sagemaker", path=path, body=b"{}", headers={"authorization": authorization, **headers})


def refused(answer: Answer) -> tuple[int, str, str]:
    error = answer.document["error"]
    return answer.status, error["code"], error["message"]


def test_a_token_gets_in(gatehouse: Gatehouse, token: Make) -> None:
    """It gets as far as the endpoint, which is not there; the refusal is OpenAI's document.

    Ledger: access.bearer, runtime.openai.errors, runtime.no-endpoint.
    """
    answer = ask(gatehouse, token(ROOT))
    assert refused(answer) == (400, "validation_error", f"Endpoint e of account {ACCOUNT} not found.")
    assert answer.document["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ([], TOKEN),
        ([allow(INVOKE)], TOKEN),
        ([allow(TOKEN)], INVOKE),
        ([allow(TOKEN, resource=ENDPOINT), allow(INVOKE)], TOKEN),
        ([allow(TOKEN), allow(INVOKE, resource=f"{ENDPOINT}x")], INVOKE),
        ([allow(TOKEN, INVOKE), {"Effect": "Deny", "Action": TOKEN, "Resource": "*"}], TOKEN),
        ([allow(TOKEN), allow(INVOKE, resource=ENDPOINT)], None),
    ],
)
def test_both_actions_are_needed(gatehouse: Gatehouse, token: Make, granted: list[Any], missing: str | None) -> None:
    """The token's own, which has no resource, and the invocation's on what is called.

    Ledger: access.bearer.two-actions.
    """
    status, code, message = refused(ask(gatehouse, token(gatehouse.user("ann", *granted))))
    if missing is None:
        assert (status, code) == (400, "validation_error")
    else:
        assert (status, code) == (403, "access_denied")
        assert f"is not authorized to perform: {missing} on resource" in message


def test_a_component_is_named_in_the_path(gatehouse: Gatehouse, token: Make) -> None:
    """It is authorised too; the header is refused. Ledger: runtime.openai.path, runtime.openai.component-header."""
    ann = gatehouse.user("ann", allow(TOKEN), allow(INVOKE, resource=ENDPOINT))
    assert COMPONENT in refused(ask(gatehouse, token(ann), COMPONENT_PATH))[2]
    header = {"x-amzn-sagemaker-inference-component": "c"}
    assert "Name the inference component in the path" in refused(ask(gatehouse, token(ROOT), PATH, **header))[2]


def test_a_session_needs_its_token(gatehouse: Gatehouse, token: Make) -> None:
    """Temporary credentials sign with it, and end with their time."""
    gatehouse.role("r", allow(TOKEN, INVOKE))
    who = gatehouse.session("r", expires_in_s=600)
    assert refused(ask(gatehouse, token(who)))[0] == 400
    assert refused(ask(gatehouse, token(who[:2])))[:2] == (403, "unrecognized_client")
    long = token(who)
    gatehouse.clock._now += 700
    assert refused(ask(gatehouse, long))[:2] == (403, "expired_token")


def test_a_token_ends_with_its_time(gatehouse: Gatehouse, token: Make) -> None:
    """After what it says itself. Ledger: access.bearer."""
    short = token(ROOT, expires=60)
    assert refused(ask(gatehouse, short))[0] == 400
    gatehouse.clock._now += 61
    assert refused(ask(gatehouse, short))[:2] == (403, "invalid_signature")


@pytest.mark.parametrize(
    "changed",
    [
        {"expires": 43201},
        {"expires": 0},
        {"expires": "9" * 5000},
        {"service": "bedrock"},
        {"region": "eu-west-1"},
        {"host": "bedrock.amazonaws.com"},
        {"action": "InvokeEndpoint"},
        {"method": "GET"},
        {"end": ""},
        {"end": "&Version=2"},
        {"prefix": "Bearer bedrock-api-key-"},
        {"prefix": "Bearer "},
        {"prefix": "Basic sagemaker-api-key-"},
        {"prefix": ""},
    ],
    ids=str,
)
def test_what_is_no_such_token_is_refused(gatehouse: Gatehouse, token: Make, changed: dict[str, Any]) -> None:
    """Longer than twelve hours, for another service, region, host or action, unfinished, in another scheme."""
    answer = ask(gatehouse, token(ROOT, **changed))
    assert answer.status == 403
    assert "not found" not in answer.document["error"]["message"]


def test_wrong_keys_are_refused(gatehouse: Gatehouse, token: Make) -> None:
    """An unknown key, another secret. Ledger: access.unknown-key, access.wrong-signature."""
    assert refused(ask(gatehouse, token(("AKIANOBODY", "x"))))[:2] == (403, "unrecognized_client")
    assert refused(ask(gatehouse, token((ROOT[0], "wrong"))))[:2] == (403, "invalid_signature")


def test_a_signed_request_is_refused(gatehouse: Gatehouse) -> None:
    """The path takes tokens only, though the signature is right. Ledger: access.bearer."""
    answer = gatehouse.ask(ROOT, "sagemaker", path=PATH, body=b"{}")
    assert refused(answer)[:2] == (403, "missing_authentication_token")


def test_a_token_opens_no_other_door(gatehouse: Gatehouse, token: Make) -> None:
    """Invocations are signed as ever."""
    answer = ask(gatehouse, token(ROOT), "/endpoints/e/invocations")
    assert (answer.status, answer.code) == (403, "MissingAuthenticationTokenException")


def test_other_routes_do_not_exist(gatehouse: Gatehouse, token: Make) -> None:
    """Ledger: runtime.openai.only-chat."""
    answer = ask(gatehouse, token(ROOT), "/endpoints/e/openai/v1/embeddings")
    assert refused(answer)[:2] == (404, "unknown_operation")


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_changed_token_gets_in(gatehouse: Gatehouse, token: Make, data: st.DataObject) -> None:
    """Whatever byte of the signed text is another one."""
    url = base64.b64decode(token(ROOT).rpartition("-")[2])
    place = data.draw(st.integers(0, len(url) - 1))
    byte = data.draw(st.sampled_from(b"abcXYZ0189%&=/.-").filter(lambda byte: byte != url[place]))
    changed = base64.b64encode(url[:place] + bytes([byte]) + url[place + 1 :]).decode()
    assert ask(gatehouse, f"Bearer sagemaker-api-key-{changed}").status in {403, 400}
    assert "not found" not in ask(gatehouse, f"Bearer sagemaker-api-key-{changed}").document["error"]["message"]


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()))
def test_rubbish_is_refused_cleanly(rubbish: str) -> None:
    """No other exception, whatever comes after the prefix."""
    for prefix in ("Bearer sagemaker-api-key-", "Bearer ", ""):
        with suppress(MalformedSignatureError):
            assert read_token(prefix + rubbish) is None
