"""SageMaker's runtime as a peer: signed requests, its error documents, its event streams."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import quote

from llm_deploy.client.origin import Origin
from llm_deploy.client.peer import Words
from llm_deploy.client.route import Route
from llm_deploy.client.sagemaker_errors import TIMEOUT_HINT, code_and_message, translate_answer, translate_fault
from llm_deploy.client.wire.eventstream import Fault
from llm_deploy.client.wire.http1 import Response
from llm_deploy.client.wire.signature import SignedAddress
from llm_deploy.errors import InferenceError, LlmDeployError

UNREACHABLE_HINT = "Check the network, AWS_REGION and any proxy."

_CLOCK_CODES = re.compile(r"RequestTimeTooSkewed|RequestExpired|InvalidSignatureException|SignatureDoesNotMatch")
"""How AWS refuses a request whose time is off, before anything reads it. `InvalidSignatureException` and
`SignatureDoesNotMatch` say other things too, so that the clocks themselves are compared.

Source: botocore's list of clock skew errors; AWS General Reference, "Troubleshooting AWS Signature Version 4 errors".
"""

_LEAST_SKEW_S = 60.0
"""AWS allows 5 minutes; clocks that differ by less than this are not why a request was refused."""


class RuntimePeer:
    """One endpoint, or one inference component of it. See `Peer`.

    Args:
        clock: Seconds since the epoch, by this machine's clock.
    """

    framed = True

    def __init__(
        self,
        route: Route,
        endpoint_name: str,
        *,
        inference_component_name: str | None,
        answer_timeout_s: float | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        action = f"call endpoint {endpoint_name}"
        self.words = Words(action, answer_timeout_s, UNREACHABLE_HINT, TIMEOUT_HINT)
        self._route = route
        self._clock = clock
        self._ahead_s = 0.0
        place = f"{route.path}/endpoints/{quote(endpoint_name, safe='-._~')}"
        self._calls = self._address(f"{place}/invocations", inference_component_name)
        self._streams = self._address(f"{place}/invocations-response-stream", inference_component_name)

    @property
    def origin(self) -> Origin:
        """See `Peer.origin`."""
        return self._route.origin

    def delay(self) -> Callable[[], object] | None:
        """See `Peer.delay`."""
        return self._route.credentials.renewal()

    def head(self, body: bytes, *, streamed: bool) -> bytes:
        """See `Peer.head`."""
        address = self._streams if streamed else self._calls
        return address.head(body, self._route.credentials.keys(), self._clock() + self._ahead_s)

    def corrects(self, response: Response, body: bytes) -> bool:
        """Whether the request was refused for its time, and this answer's Date shows how far off that was."""
        code, _ = code_and_message(response.status, _kind(response), body)
        told_s = _seconds(response.headers.get(b"date"))
        if told_s is None or not _CLOCK_CODES.fullmatch(code):
            return False
        ahead_s = told_s - self._clock()
        off_s = abs(ahead_s - self._ahead_s)
        if off_s < _LEAST_SKEW_S:
            return False
        self._ahead_s = ahead_s
        return True

    def refusal(self, response: Response, body: bytes) -> LlmDeployError:
        """See `Peer.refusal`."""
        return translate_answer(response.status, _kind(response), body, self.words.action)

    def fault(self, fault: Fault) -> InferenceError:
        """See `Peer.fault`."""
        return translate_fault(fault, self.words.action)

    def _address(self, path: str, component: str | None) -> SignedAddress:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "llm-deploy"}
        if component:
            headers["X-Amzn-SageMaker-Inference-Component"] = component
        host = self._route.origin.host_header
        return SignedAddress(host=host, path=path, headers=headers, region=self._route.region)


def _kind(response: Response) -> str | None:
    found = response.headers.get(b"x-amzn-errortype")
    return None if found is None else found.decode("latin-1")


def _seconds(date: bytes | None) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - 10 ms that only a clock that is off needs

    try:
        return None if date is None else parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except (ValueError, OverflowError):
        return None
