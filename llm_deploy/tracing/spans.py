"""The facade: `with span("chat", kind="client") as s: ... s.set(...)`; free of OpenTelemetry, and of cost when unused.

A span made with `span` is the parent of what is made inside it, in the same asyncio task and in tasks started there;
`context.carry` takes it to another thread. Generators use `begin` instead: code that has yielded must not leave its
span behind as the current one of whoever reads from it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, Protocol, Self

Kind = Literal["internal", "client", "server", "producer", "consumer"]
Value = Any
"""What an attribute may be: text, numbers, booleans, lists of one of them; anything else is written as JSON; `None` is
left out."""


class Span(AbstractContextManager["Span"], Protocol):
    """One piece of work, recorded or not. Its methods never raise and never block."""

    @property
    def recording(self) -> bool:
        """Whether anybody will see it; ask before computing something only for `set`."""

    def set(self, **attributes: Value) -> None:
        """Add attributes; dotted names go as `**{"gen_ai.request.model": "twin"}`. The last value of a name stays."""

    def event(self, name: str, **attributes: Value) -> None:
        """Note that something happened now."""

    def fail(self, error: BaseException | str) -> None:
        """Mark it as failed: `error.type` becomes the error's class, or this word. Leaving with an error does it."""

    def end(self) -> None:
        """Its work is over; needed after `begin` only. What comes after the first call changes nothing."""

    def active(self) -> AbstractContextManager[object]:
        """For as long as the block runs, spans made in it are children of this one."""

    def __enter__(self) -> Self:
        """Make it the current one."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """End it, as failed if an error leaves the block."""


class Recorder(Protocol):
    """Who listens: makes real spans, and carries the current one from and to HTTP headers."""

    captures_content: bool

    def begin(self, name: str, kind: Kind, attributes: dict[str, Value]) -> Span:
        """A started span, child of the current one."""

    def extract(self, headers: dict[str, str]) -> AbstractContextManager[object]:
        """A block in which the caller's span, from its headers in lower case, is the current one."""

    def inject(self, headers: dict[str, str]) -> None:
        """Add headers that name the current span."""


class _Nothing:
    """The span that nobody sees; one object serves for all of them."""

    __slots__ = ()
    recording = False

    def set(self, **attributes: Value) -> None:
        """Nothing."""

    def event(self, name: str, **attributes: Value) -> None:
        """Nothing."""

    def fail(self, error: BaseException | str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def active(self) -> Self:
        """Itself, which does nothing."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


NOTHING = _Nothing()


class _Listening:
    """Who listens in this process. The one mutable global: a facade is of use only if nobody has to pass it along."""

    __slots__ = ("recorder",)

    def __init__(self) -> None:
        self.recorder: Recorder | None = None


_listening = _Listening()


def span(name: str, kind: Kind = "internal", **attributes: Value) -> Span:
    """A span that starts now and ends with its `with` block. Names are few and carry no ids: `chat twin`, `rerank`."""
    recorder = _listening.recorder
    return NOTHING if recorder is None else recorder.begin(name, kind, attributes)


def begin(name: str, kind: Kind = "internal", **attributes: Value) -> Span:
    """A span that starts now, is not made current, and ends with `end`: for generators and callbacks.

    It is a child of what is current now. `active` makes it current for a block.
    """
    return span(name, kind, **attributes)


def enabled() -> bool:
    """Whether anybody listens."""
    return _listening.recorder is not None


def captures_content() -> bool:
    """Whether prompts, answers and documents are recorded. Code that has them in hand asks before it records them."""
    recorder = _listening.recorder
    return recorder is not None and recorder.captures_content


def current_recorder() -> Recorder | None:
    """Who listens, for `context`."""
    return _listening.recorder


def listen(recorder: Recorder | None) -> None:
    """Let this recorder have all spans from now on; `None`: nobody."""
    _listening.recorder = recorder
