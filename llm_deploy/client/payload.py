"""The payload that `set_payload` sets: of one endpoint object, in one thread or task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any
from weakref import WeakKeyDictionary

from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import InferenceRequestError

Inputs = str | Sequence[Mapping[str, Any]]

# A context variable must live in a module: made by each object, it would never be freed. The dictionary is replaced,
# never changed: a task starts with its parent's, and what it sets must not reach the parent.
_SET: ContextVar[WeakKeyDictionary[PayloadSlot, GenerationRequest] | None] = ContextVar("requests", default=None)

_OTHER_NAMES = {"max_tokens": "max_new_tokens", "stop_sequences": "stop"}
_OURS = frozenset({"details", "stream"})
"""Said by the dialects themselves."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class PayloadSlot:
    """Where one endpoint object keeps the request that the thread or task at hand has set."""

    def set(self, request: GenerationRequest) -> None:
        """Replace the request of this thread or task."""
        before = _SET.get()
        alone = before is None or (len(before) == 1 and self in before)
        requests = WeakKeyDictionary[PayloadSlot, GenerationRequest]() if alone else WeakKeyDictionary(before)
        requests[self] = request
        _SET.set(requests)

    def get(self, default: GenerationRequest) -> GenerationRequest:
        """The request of this thread or task, or the default if that asks anything.

        Raises:
            InferenceRequestError: Nothing was set here, and the default has no inputs.
        """
        requests = _SET.get()
        request = default if requests is None else requests.get(self, default)
        if not request.prompt and not request.messages:
            raise InferenceRequestError(
                "no payload was set in this thread or task",
                hint="Call set_payload right before inference, in the same thread; or use generate(request).",
            )
        return request


def request_of(payload: Mapping[str, Any] | None) -> GenerationRequest:
    """A request for a payload in TGI's shape: `{"inputs": ..., "parameters": {...}}`."""
    document = dict(payload or {})
    request = with_parameters(GenerationRequest(), document.get("parameters") or {})
    inputs = document.get("inputs") or document.get("messages")
    return with_inputs(request, inputs) if inputs else request


def with_inputs(request: GenerationRequest, inputs: Inputs) -> GenerationRequest:
    """The request with this prompt, or these messages."""
    if isinstance(inputs, str):
        return GenerationRequest(inputs, None, *_ALL_BUT_INPUTS(request))  # in half the time of `replace`
    return replace(request, prompt=None, messages=tuple(dict(message) for message in inputs))


def with_parameters(request: GenerationRequest, parameters: Mapping[str, Any]) -> GenerationRequest:
    """The request with these sampling parameters in TGI's names; names we do not know are passed through."""
    if not parameters:
        return request
    given = {_OTHER_NAMES.get(name, name): value for name, value in parameters.items() if name not in _OURS}
    sample = given.pop("do_sample", None)
    if sample is not None and given.get("temperature") is None:
        # Said by the temperature in every dialect: TGI's own default is 1.0.
        given["temperature"] = 1.0 if sample else 0.0
    if given.get("stop") is not None:
        given["stop"] = (given["stop"],) if isinstance(given["stop"], str) else tuple(given["stop"])
    known = {name: value for name, value in given.items() if name in _PARAMETERS and value is not None}
    extra = {name: value for name, value in given.items() if name not in _PARAMETERS}
    return replace(request, **known, extra={**request.extra, **extra})


_ALL_BUT_INPUTS = attrgetter(*(each.name for each in fields(GenerationRequest)[2:]))
_PARAMETERS = frozenset(each.name for each in fields(GenerationRequest)) - {"prompt", "messages", "extra"}
