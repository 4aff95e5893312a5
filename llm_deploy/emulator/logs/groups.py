"""Log groups and streams: made, described, tagged, removed."""

from __future__ import annotations

from llm_deploy.emulator import ledger
from llm_deploy.emulator.cloudwatch.paging import page
from llm_deploy.emulator.logs.storage import EventStorage
from llm_deploy.emulator.service import Call, Cloud, Operation, ServiceError
from llm_deploy.emulator.store import Document

GROUP, STREAM = "logs:group", "logs:stream"
PAGE = 50
INVALID = "InvalidParameterException"
DAY_MS = 24 * 3600 * 1000
RETENTION_DAYS = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)
"""Source: API reference of PutRetentionPolicy."""


class Groups:
    """The log groups of the account, and the operations on them and their streams."""

    def __init__(self, cloud: Cloud, events: EventStorage) -> None:
        self._cloud = cloud
        self._events = events

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "CreateLogGroup": self.create_group,
            "DeleteLogGroup": self.delete_group,
            "DescribeLogGroups": self.describe_groups,
            "CreateLogStream": self.create_stream,
            "DeleteLogStream": self.delete_stream,
            "DescribeLogStreams": self.describe_streams,
            "PutRetentionPolicy": self.put_retention,
            "DeleteRetentionPolicy": self.delete_retention,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
        }

    def ensure(self, group: str, stream: str) -> None:
        """Make the group and the stream unless they exist, as SageMaker does for its containers."""
        if self._cloud.store.get(GROUP, group) is None:
            self._cloud.store.put(GROUP, group, self._new_group(group))
        if self._cloud.store.get(STREAM, _stream_key(group, stream)) is None:
            self._cloud.store.put(STREAM, _stream_key(group, stream), self._new_stream(group, stream))

    def require(self, group: str) -> Document:
        """A group's document.

        Raises:
            ServiceError: There is none.
        """
        return self._required(GROUP, group, "logs.no-group")

    def tags_of(self, arn: str) -> dict[str, str]:
        """The tags of a group, as policies see them; of an absent one none."""
        document = self._cloud.store.get(GROUP, arn.rpartition(":log-group:")[2].partition(":")[0])
        return {} if document is None else dict(document["tags"])

    def require_stream(self, group: str, stream: str) -> Document:
        """A stream's document.

        Raises:
            ServiceError: There is no such group, or no such stream in it.
        """
        self.require(group)
        return self._required(STREAM, _stream_key(group, stream), "logs.no-stream")

    def streams(self, group: str, prefix: str = "") -> list[str]:
        """Names of a group's streams."""
        rows = self._cloud.store.all(STREAM, prefix=_stream_key(group, prefix))
        return [row["logStreamName"] for row in rows]

    def expire(self) -> None:
        """Remove events that are older than their group's retention."""
        now_ms = int(self._cloud.clock.now() * 1000)
        for group in self._cloud.store.all(GROUP):
            if days := group.get("retentionInDays"):
                self._events.delete(group["logGroupName"], before_ms=now_ms - days * DAY_MS)

    async def create_group(self, call: Call) -> Document:
        """CreateLogGroup."""
        name = call.params["logGroupName"]
        if self._cloud.store.get(GROUP, name) is not None:
            raise _exists("logs.group-exists")
        given = {key: call.params[key] for key in ("kmsKeyId", "logGroupClass", "tags") if key in call.params}
        self._cloud.store.put(GROUP, name, self._new_group(name) | given)
        return {}

    async def delete_group(self, call: Call) -> Document:
        """DeleteLogGroup: its streams and events go with it."""
        name = call.params["logGroupName"]
        self.require(name)
        with self._cloud.store.transaction():
            for stream in self.streams(name):
                self._cloud.store.delete(STREAM, _stream_key(name, stream))
            self._cloud.store.delete(GROUP, name)
        self._events.delete(name)
        return {}

    async def describe_groups(self, call: Call) -> Document:
        """DescribeLogGroups, by prefix or by a part of the name (whose case does not matter)."""
        params = call.params
        if "logGroupNamePrefix" in params and "logGroupNamePattern" in params:
            raise ServiceError(INVALID, ledger.text("logs.prefix-or-pattern"))
        part = params.get("logGroupNamePattern", "").lower()
        groups = self._cloud.store.all(GROUP, prefix=params.get("logGroupNamePrefix", ""))
        shown, token = page(
            [group for group in groups if part in group["logGroupName"].lower()],
            lambda group: str(group["logGroupName"]),
            limit=params.get("limit", PAGE),
            token=params.get("nextToken"),
            error_code=INVALID,
        )
        return {"logGroups": [self._described(group) for group in shown]} | ({"nextToken": token} if token else {})

    async def create_stream(self, call: Call) -> Document:
        """CreateLogStream."""
        group, stream = call.params["logGroupName"], call.params["logStreamName"]
        self.require(group)
        if self._cloud.store.get(STREAM, _stream_key(group, stream)) is not None:
            raise _exists("logs.stream-exists")
        self._cloud.store.put(STREAM, _stream_key(group, stream), self._new_stream(group, stream))
        return {}

    async def delete_stream(self, call: Call) -> Document:
        """DeleteLogStream: its events go with it."""
        group, stream = call.params["logGroupName"], call.params["logStreamName"]
        self.require_stream(group, stream)
        self._cloud.store.delete(STREAM, _stream_key(group, stream))
        self._events.delete(group, streams=[stream])
        return {}

    async def describe_streams(self, call: Call) -> Document:
        """DescribeLogStreams, by name or by the time of the last event."""
        params = call.params
        group = group_name(params)
        self.require(group)
        spans = self._events.spans(group)
        rows = self._cloud.store.all(STREAM, prefix=_stream_key(group, params.get("logStreamNamePrefix", "")))
        streams = [row | _times(spans.get(row["logStreamName"])) for row in rows]
        by_time = params.get("orderBy") == "LastEventTime"
        if by_time and "logStreamNamePrefix" in params:
            raise ServiceError(INVALID, ledger.text("logs.order-with-prefix"))
        return _stream_page(streams, params, by_time=by_time)

    async def put_retention(self, call: Call) -> Document:
        """PutRetentionPolicy: older events are removed, within a minute."""
        group, days = self.require(call.params["logGroupName"]), call.params["retentionInDays"]
        if days not in RETENTION_DAYS:
            raise ServiceError(INVALID, ledger.text("logs.retention", allowed=sorted(RETENTION_DAYS)))
        self._cloud.store.put(GROUP, group["logGroupName"], group | {"retentionInDays": days})
        return {}

    async def delete_retention(self, call: Call) -> Document:
        """DeleteRetentionPolicy: events never expire."""
        group = self.require(call.params["logGroupName"])
        group.pop("retentionInDays", None)
        self._cloud.store.put(GROUP, group["logGroupName"], group)
        return {}

    async def tag(self, call: Call) -> Document:
        """TagResource, for groups."""
        group = self.require(_name_in(call.params["resourceArn"]))
        self._cloud.store.put(GROUP, group["logGroupName"], group | {"tags": group["tags"] | call.params["tags"]})
        return {}

    async def untag(self, call: Call) -> Document:
        """UntagResource, for groups."""
        group = self.require(_name_in(call.params["resourceArn"]))
        left = {key: value for key, value in group["tags"].items() if key not in call.params["tagKeys"]}
        self._cloud.store.put(GROUP, group["logGroupName"], group | {"tags": left})
        return {}

    async def list_tags(self, call: Call) -> Document:
        """ListTagsForResource, for groups."""
        return {"tags": self.require(_name_in(call.params["resourceArn"]))["tags"]}

    def _required(self, kind: str, key: str, entry: str) -> Document:
        found = self._cloud.store.get(kind, key)
        if found is None:
            raise ServiceError("ResourceNotFoundException", ledger.text(entry))
        return found

    def _new_group(self, name: str) -> Document:
        return {"logGroupName": name, "creationTime": int(self._cloud.clock.now() * 1000), "tags": {}}

    def _new_stream(self, group: str, stream: str) -> Document:
        return {
            "logStreamName": stream,
            "creationTime": int(self._cloud.clock.now() * 1000),
            "arn": self._cloud.arn("logs", f"log-group:{group}:log-stream:{stream}"),
        }

    def _described(self, group: Document) -> Document:
        arn = self._cloud.arn("logs", f"log-group:{group['logGroupName']}")
        rest = {key: value for key, value in group.items() if key != "tags"}
        return {
            "metricFilterCount": 0,
            "logGroupClass": "STANDARD",
            **rest,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "storedBytes": self._events.stored_bytes(group["logGroupName"]),
        }


def group_name(params: Document) -> str:
    """The group that a request names, by its name or by its ARN.

    Raises:
        ServiceError: Neither is given, or both.
    """
    if ("logGroupName" in params) == ("logGroupIdentifier" in params):
        raise ServiceError(INVALID, ledger.text("logs.name-or-identifier"))
    return str(params.get("logGroupName") or _name_in(params["logGroupIdentifier"]))


def given_group(params: Document) -> str | None:
    """As `group_name`, without refusing."""
    found = params.get("logGroupName") or _name_in(params.get("logGroupIdentifier", ""))
    return str(found) if found else None


def _name_in(arn: str) -> str:
    return arn.rpartition(":log-group:")[2].removesuffix(":*")


def _stream_key(group: str, stream: str) -> str:
    return f"{group}:{stream}"  # a group's name has no colon


def _times(span: tuple[int, int, int] | None) -> Document:
    if span is None:
        return {}
    first, last, ingested = span
    return {"firstEventTimestamp": first, "lastEventTimestamp": last, "lastIngestionTime": ingested}


def _stream_page(streams: list[Document], params: Document, *, by_time: bool) -> Document:
    """A page of streams. Sorted by time, a page is counted off, since times change between two pages."""
    limit, token = params.get("limit", PAGE), params.get("nextToken")
    if not by_time and not params.get("descending"):
        shown, token = page(
            streams, lambda each: str(each["logStreamName"]), limit=limit, token=token, error_code=INVALID
        )
        return {"logStreams": shown} | ({"nextToken": token} if token else {})
    if token is not None and not token.isdigit():
        raise ServiceError(INVALID, "The specified nextToken is invalid.")
    streams.sort(
        key=lambda each: (each.get("lastEventTimestamp", 0) if by_time else 0, each["logStreamName"]),
        reverse=bool(params.get("descending")),
    )
    begin = int(token or 0)
    more = begin + limit < len(streams)
    return {"logStreams": streams[begin : begin + limit]} | ({"nextToken": str(begin + limit)} if more else {})


def _exists(entry: str) -> ServiceError:
    return ServiceError("ResourceAlreadyExistsException", ledger.text(entry))
