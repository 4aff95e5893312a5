"""What the shells that move bytes, blocking or on a loop, must know of the one at the other end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llm_deploy.client.origin import Origin
from llm_deploy.client.transport import READ_TIMEOUT_S
from llm_deploy.client.wire.eventstream import Fault
from llm_deploy.client.wire.http1 import Response
from llm_deploy.errors import (
    CloudError,
    InferenceError,
    InferenceTimeoutError,
    LlmDeployError,
    StreamBrokenError,
    UnreachableError,
)

MAX_ERROR_BYTES = 256 * 1024
"""How much of a refusal's body is read."""


class Peer(Protocol):
    """How one model is asked, and what its refusals mean. Does no I/O, but for what `delay` gives."""

    @property
    def origin(self) -> Origin:
        """Where connections go."""

    @property
    def framed(self) -> bool:
        """Whether streams are event streams of AWS."""

    @property
    def words(self) -> Words:
        """Its errors of connections."""

    def delay(self) -> Callable[[], object] | None:
        """What must be done before the next request and may block (renewing credentials); mostly `None`."""

    def head(self, body: bytes, *, streamed: bool) -> bytes:
        """The head of a request with this body."""

    def corrects(self, response: Response, body: bytes) -> bool:
        """Whether this refusal, which ran nothing, said how to ask so that it will not be refused again."""

    def refusal(self, response: Response, body: bytes) -> LlmDeployError:
        """What an answer without success stands for."""

    def fault(self, fault: Fault) -> InferenceError:
        """What broke an event stream off."""


@dataclass(frozen=True, slots=True)
class Words:
    """The errors of connections, in a transport's words.

    Attributes:
        action: What was tried: `call endpoint twin`.
        answer_timeout_s: Most seconds for a whole answer; `None`: only silence is bounded.
    """

    action: str
    answer_timeout_s: float | None
    unreachable_hint: str
    timeout_hint: str

    def no_connection(self, error: Exception) -> LlmDeployError:
        """Nothing was sent."""
        return UnreachableError(f"cannot {self.action}: no connection ({error})", hint=self.unreachable_hint)

    def not_trusted(self, error: Exception) -> LlmDeployError:
        """Nothing was sent, and trying again does not help."""
        return CloudError(f"cannot {self.action}: {error}", hint="Check certificates (AWS_CA_BUNDLE) and any proxy.")

    def broken(self, error: Exception | None, *, streaming: bool) -> InferenceError:
        """The request was sent, and the answer is not whole."""
        why = f" ({error})" if error is not None else ""
        if streaming:
            return StreamBrokenError(f"{self.action}: the connection broke in the middle of the answer{why}")
        return InferenceError(
            f"cannot {self.action}: the connection broke before the answer was whole{why}",
            hint="The model may have worked on it, so it was not asked again by itself.",
        )

    def timeout(self) -> InferenceError:
        """The request was sent, and the time allowed has passed."""
        if self.answer_timeout_s is None:
            return InferenceTimeoutError(
                f"{self.action}: no byte of the answer came for {READ_TIMEOUT_S:g} s", hint=self.timeout_hint
            )
        return InferenceTimeoutError(
            f"{self.action}: no whole answer in the {self.answer_timeout_s:g} s allowed", hint=self.timeout_hint
        )
