"""Filters, order and pages of every List operation."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llm_deploy.emulator.sagemaker.hosting import only
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.store import Document

DEFAULT_PAGE = 10
"""Source: API reference of ListEndpoints, MaxResults."""


@dataclass(frozen=True, slots=True)
class Listing:
    """How one kind is listed.

    Attributes:
        answer: The member of the answer that holds the page (`Endpoints`).
        name: The member that is the name.
        status: The member that is the status, for kinds that have one.
        members: The members of a summary.
        equals: Filters for equality: input member to document member.
    """

    answer: str
    name: str
    members: tuple[str, ...]
    status: str | None = None
    equals: tuple[tuple[str, str], ...] = ()

    def page(self, documents: Iterable[Document], params: Document) -> Document:
        """One page. A page goes on after the last one's last item, so deletions in between lose nothing.

        Raises:
            ServiceError: NextToken is not one of ours. Ledger: `sm.list.token`.
        """
        backwards = params.get("SortOrder", self._default_order()) == "Descending"
        chosen = sorted(
            (each for each in documents if self._matches(each, params)),
            key=lambda each: self._key(each, params),
            reverse=backwards,
        )
        if token := params.get("NextToken"):
            last = _decoded(token)
            chosen = [each for each in chosen if _after(self._key(each, params), last, backwards=backwards)]
        size = params.get("MaxResults", DEFAULT_PAGE)
        answer: Document = {self.answer: [only(each, *self.members) for each in chosen[:size]]}
        if len(chosen) > size:
            answer["NextToken"] = _encoded(self._key(chosen[size - 1], params))
        return answer

    def _default_order(self) -> str:
        return "Descending"  # Source: API references of the List operations of SageMaker hosting.

    def _key(self, document: Document, params: Document) -> list[Any]:
        field = {"Name": self.name, "Status": self.status}.get(params.get("SortBy", "CreationTime")) or "CreationTime"
        return [document[field], document[self.name]]

    def _matches(self, document: Document, params: Document) -> bool:
        wanted = [(params.get(member), document.get(field)) for member, field in self._equalities()]
        if any(asked is not None and asked != there for asked, there in wanted):
            return False
        if params.get("NameContains", "").lower() not in document[self.name].lower():
            return False
        return all(
            _in_window(document.get(f"{moment}Time"), params, f"{moment}Time")
            for moment in ("Creation", "LastModified")
        )

    def _equalities(self) -> tuple[tuple[str, str], ...]:
        return (*self.equals, ("StatusEquals", self.status)) if self.status else self.equals


def _in_window(moment: float | None, params: Document, name: str) -> bool:
    after, before = params.get(f"{name}After"), params.get(f"{name}Before")
    if moment is None:
        return True
    return (after is None or moment > after) and (before is None or moment < before)


def _after(key: list[Any], last: list[Any], *, backwards: bool) -> bool:
    return key < last if backwards else key > last


def _encoded(key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _decoded(token: str) -> list[Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error) as error:
        raise refusal("sm.list.token") from error
    if not (isinstance(key, list) and len(key) == 2 and isinstance(key[1], str) and type(key[0]) in (float, int, str)):  # noqa: PLR2004 - sort key and name
        raise refusal("sm.list.token")
    return key
