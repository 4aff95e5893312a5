"""Headers that may carry keys, and never show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llm_deploy.errors import SpecError

_FRAMING = frozenset({"content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect"})
"""What says where a request ends, or that more than its answer is to come."""


class Headers(Mapping[str, str]):
    """Headers of every request; where they are shown (logs, tracebacks with values), their names are.

    Of mappings that have a name in common, in whatever case, the last one's value is taken.

    Raises:
        SpecError: A name or value that cannot be sent, for example a key with its newline, or a header that says where
            a request ends. The value is not shown.
    """

    __slots__ = ("_values",)

    def __init__(self, *given: Mapping[str, str]) -> None:
        named: dict[str, tuple[str, str]] = {}
        for name, value in (item for values in given for item in values.items()):
            if not _sendable(name) or not _sendable(value):
                raise SpecError(f"header {name!r}: it cannot be sent", hint="No line ends and no control characters.")
            if name.lower() in _FRAMING:
                raise SpecError(f"header {name!r}: it is the client's own to send")
            named[name.lower()] = (name, value)
        self._values = dict(named.values())

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({', '.join(self._values)})"


def with_key(headers: Mapping[str, str] | None, api_key: str | None) -> Headers:
    """The headers, and a key as OpenAI-compatible servers take it.

    Raises:
        SpecError: One of them cannot be sent.
    """
    if api_key is not None and not (api_key and _sendable(api_key)):
        raise SpecError("the API key cannot be sent", hint="Has it a line end, a blank, or nothing in it?")
    bearer = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return Headers(bearer, headers or {})


def _sendable(text: str) -> bool:
    return text.isprintable() and text.isascii() and text == text.strip()
