"""Headers that may carry keys, and never show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llm_deploy.errors import SpecError


class Headers(Mapping[str, str]):
    """Headers of every request; where they are shown (logs, tracebacks with values), their names are.

    Raises:
        SpecError: A name or value that cannot be sent, for example a key with its newline. The value is not shown.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            if not _sendable(name) or not _sendable(value):
                raise SpecError(f"header {name!r}: it cannot be sent", hint="No line ends and no control characters.")
        self._values = dict(values)

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
    return Headers({**bearer, **(headers or {})})


def _sendable(text: str) -> bool:
    return text.isprintable() and text.isascii() and text == text.strip()
