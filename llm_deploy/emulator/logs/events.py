"""Log events: written by clients and containers, read forwards, backwards and filtered."""

from __future__ import annotations

import re
import secrets

from llm_deploy.emulator import ledger
from llm_deploy.emulator.logs.filters import TextFilter, UnsupportedPatternError, text_filter
from llm_deploy.emulator.logs.groups import DAY_MS, INVALID, Groups, group_name
from llm_deploy.emulator.logs.storage import Event, EventStorage, Window
from llm_deploy.emulator.service import Call, Cloud, Operation, ServiceError
from llm_deploy.emulator.store import Document

PAGE = 10_000
SCAN = 20_000
"""How many events one FilterLogEvents call looks at; it answers with a token when there are more."""

TOO_OLD_DAYS, TOO_NEW_MS = 14, 2 * 3600 * 1000
"""Source: API reference of PutLogEvents."""

_PLACE = re.compile(r"([fb])/(\d+)/(\d+)")


class Events:
    """The operations on events."""

    def __init__(self, cloud: Cloud, groups: Groups, storage: EventStorage) -> None:
        self._cloud = cloud
        self._groups = groups
        self._storage = storage

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "PutLogEvents": self.put,
            "GetLogEvents": self.get,
            "FilterLogEvents": self.filter,
        }

    async def put(self, call: Call) -> Document:
        """PutLogEvents: too old and too new events are left out and counted, the others are kept."""
        params = call.params
        group, stream = params["logGroupName"], params["logStreamName"]
        self._groups.require_stream(group, stream)
        now_ms = self._now_ms()
        times = [event["timestamp"] for event in params["logEvents"]]
        if times != sorted(times):
            raise ServiceError(INVALID, ledger.text("logs.order"))
        oldest, newest = now_ms - TOO_OLD_DAYS * DAY_MS, now_ms + TOO_NEW_MS
        for event in params["logEvents"]:
            if oldest <= event["timestamp"] <= newest:
                self._storage.add(group, Event(stream, event["timestamp"], now_ms, event["message"]))
        self._storage.flush()
        rejected = _rejected(times, oldest, newest)
        return {"nextSequenceToken": secrets.token_hex(28)} | ({"rejectedLogEventsInfo": rejected} if rejected else {})

    async def get(self, call: Call) -> Document:
        """GetLogEvents: one stream, from its head or its tail; the tokens go on in both directions for ever."""
        params = call.params
        group, stream = group_name(params), params["logStreamName"]
        self._groups.require_stream(group, stream)
        forwards, after = _read_token(params.get("nextToken"), from_head=params.get("startFromHead", False))
        window = _window(params, [stream])
        found = self._storage.read(group, window, limit=params.get("limit", PAGE), after=after, backwards=not forwards)
        first, last = (found[0].place, found[-1].place) if found else (after or (0, 0), after or (0, 0))
        return {
            "events": [_event(event) for event in found],
            "nextForwardToken": f"f/{last[0]}/{last[1]}",
            "nextBackwardToken": f"b/{first[0]}/{first[1]}",
        }

    async def filter(self, call: Call) -> Document:
        """FilterLogEvents: all streams of a group, or some. Ledger: `logs.filter-text-only`."""
        params = call.params
        group = group_name(params)
        self._groups.require(group)
        wanted = _filter(params.get("filterPattern", ""))
        window = _window(params, self._streams(group, params))
        _, after = _read_token(params.get("nextToken"), from_head=True)
        limit = params.get("limit", PAGE)
        scanned = self._storage.read(group, window, limit=SCAN, after=after)
        matching = [event for event in scanned if wanted.matches(event.message)]
        shown = matching[:limit]
        answer: Document = {"events": [_found(event) for event in shown], "searchedLogStreams": []}
        last = shown[-1] if len(matching) > limit else (scanned[-1] if len(scanned) == SCAN else None)
        return answer | ({"nextToken": f"f/{last.timestamp_ms}/{last.id}"} if last else {})

    def _streams(self, group: str, params: Document) -> list[str] | None:
        if "logStreamNames" in params and "logStreamNamePrefix" in params:
            raise ServiceError(INVALID, ledger.text("logs.names-or-prefix"))
        if "logStreamNamePrefix" in params:
            return self._groups.streams(group, params["logStreamNamePrefix"])
        return params.get("logStreamNames")

    def _now_ms(self) -> int:
        return int(self._cloud.clock.now() * 1000)


def _window(params: Document, streams: list[str] | None) -> Window:
    return Window(params.get("startTime", 0), params.get("endTime", 1 << 62), streams)


def _read_token(token: str | None, *, from_head: bool) -> tuple[bool, tuple[int, int] | None]:
    """Whether to read forwards, and beyond which place."""
    if token is None:
        return from_head, None
    found = _PLACE.fullmatch(token)
    if found is None:
        raise ServiceError(INVALID, ledger.text("logs.token"))
    return found[1] == "f", (int(found[2]), int(found[3]))


def _filter(pattern: str) -> TextFilter:
    try:
        return text_filter(pattern)
    except UnsupportedPatternError as error:
        raise ServiceError(INVALID, ledger.text("logs.filter-text-only")) from error


def _rejected(times: list[int], oldest: int, newest: int) -> Document:
    info: Document = {}
    if too_old := sum(moment < oldest for moment in times):
        info["tooOldLogEventEndIndex"] = too_old
    too_new = [index for index, moment in enumerate(times) if moment > newest]
    return info | ({"tooNewLogEventStartIndex": too_new[0]} if too_new else {})


def _event(event: Event) -> Document:
    return {"timestamp": event.timestamp_ms, "message": event.message, "ingestionTime": event.ingested_ms}


def _found(event: Event) -> Document:
    return _event(event) | {"logStreamName": event.stream, "eventId": f"{event.timestamp_ms:020d}{event.id:036d}"}
