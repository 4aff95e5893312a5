"""A clock that is off: the refusal's own Date corrects it, once, for what was certainly not run."""

from __future__ import annotations

import asyncio
import json
from email.utils import formatdate

import pytest

from llm_deploy.aws import Session
from llm_deploy.client.courier import Courier
from llm_deploy.client.courier_async import AsyncCourier
from llm_deploy.client.patience import Patience
from llm_deploy.client.route import Route, fast_route
from llm_deploy.client.sagemaker_peer import RuntimePeer
from llm_deploy.emulator.iam.signature import epoch_of
from llm_deploy.errors import CredentialsError
from tests.fakes.runtime_server import REGION, Reply, RuntimeServer, invocation, serving
from tests.fakes.signed import objection

TRUE_S = 1_790_000_000.0
SECRET = "made-up"
ANSWER = invocation(b"whole")


def refusal(kind: str, date: str | None = None) -> Reply:
    headers = {"x-amzn-ErrorType": kind, "Date": formatdate(TRUE_S, usegmt=True) if date is None else date}
    return Reply(
        403, (json.dumps({"message": "Signature expired: 1 is now earlier than 2"}).encode(),), headers, chunked=False
    )


def peer(server: RuntimeServer, clock_s: float) -> RuntimePeer:
    route = fast_route(Session(REGION, endpoint_url=server.url, access_key="AKIA1", secret_key=SECRET), "call")
    assert isinstance(route, Route)
    return RuntimePeer(route, "twin", inference_component_name=None, answer_timeout_s=None, clock=lambda: clock_s)


def signed_at(server: RuntimeServer) -> list[float]:
    for seen in server.seen:
        assert objection(seen.path, dict(seen.headers), seen.body, SECRET) is None
    return [epoch_of(seen.headers["x-amz-date"]) for seen in server.seen]


@pytest.mark.parametrize("off_s", [-7200.0, 600.0])
@pytest.mark.parametrize("kind", ["InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"])
def test_a_clock_that_is_off_is_corrected_and_stays_so(off_s: float, kind: str) -> None:
    """One refusal, one more request signed with the server's time; later calls are right at once."""
    with serving(refusal(kind), ANSWER) as server:
        courier = Courier(peer(server, TRUE_S + off_s), answer_timeout_s=None, patience=Patience())
        assert courier.call(b"{}") == courier.call(b"{}") == b"whole"
        assert signed_at(server) == [TRUE_S + off_s, TRUE_S, TRUE_S]


def test_the_loops_way_does_the_same() -> None:
    """By the twin; streams too."""

    async def work(server: RuntimeServer) -> None:
        courier = AsyncCourier(peer(server, TRUE_S - 3600), answer_timeout_s=None, patience=Patience())
        assert await courier.call(b"{}") == b"whole"
        await courier.aclose()

    with serving(refusal("InvalidSignatureException"), ANSWER) as server:
        asyncio.run(work(server))
        assert signed_at(server) == [TRUE_S - 3600, TRUE_S]


@pytest.mark.parametrize(
    ("reply", "off_s", "requests"),
    [
        (refusal("InvalidSignatureException"), 3600.0, 2),
        (refusal("InvalidSignatureException"), 5.0, 1),
        (refusal("SignatureDoesNotMatch"), 0.0, 1),
        (refusal("UnrecognizedClientException"), 3600.0, 1),
        (refusal("RequestExpired", "nonsense"), 3600.0, 1),
        (refusal("RequestExpired", ""), 3600.0, 1),
    ],
)
def test_what_the_clock_does_not_explain_is_an_error(reply: Reply, off_s: float, requests: int) -> None:
    """Refused again, a clock that is right, another error, no Date: said at once, and asked once more at most."""
    with serving(reply) as server:
        courier = Courier(peer(server, TRUE_S + off_s), answer_timeout_s=None, patience=Patience())
        with pytest.raises(CredentialsError):
            courier.call(b"{}")
        assert len(server.seen) == requests
