"""CloudWatch Logs keeps what containers and clients write, in order, bounded, across restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.emulator.logs.filters import UnsupportedPatternError, text_filter
from llm_deploy.emulator.logs.storage import (
    MAX_EVENTS_PER_STREAM,
    MAX_MESSAGE_BYTES,
    MAX_PENDING,
    Event,
    EventStorage,
    Window,
)
from tests.unit.emulator_services.wire import RefusedError, Wire, new_wire

GROUP, STREAM = "/aws/sagemaker/Endpoints/twin", "AllTraffic/i-0123456789abcdef0"


def messages(wire: Wire, **params: object) -> list[str]:
    answer = wire.call("logs", "GetLogEvents", logGroupName=GROUP, logStreamName=STREAM, **params)
    return [event["message"] for event in answer["events"]]


def now_ms(wire: Wire) -> int:
    return int(wire.clock.now() * 1000)


@pytest.mark.row("T13")
def test_a_containers_lines_make_their_group_and_stream(wire: Wire) -> None:
    """The hook that containers write to needs nothing made beforehand, as at AWS."""
    wire.cloud.hooks.write_log(GROUP, STREAM, "loading")
    wire.cloud.hooks.write_log(GROUP, STREAM, "")
    wire.cloud.hooks.write_log(GROUP, STREAM, "ready")
    assert messages(wire) == ["loading", "ready"]
    (group,) = wire.call("logs", "DescribeLogGroups", logGroupNamePrefix="/aws/sagemaker")["logGroups"]
    assert (group["logGroupName"], group["storedBytes"]) == (GROUP, len("loadingready"))
    (stream,) = wire.call("logs", "DescribeLogStreams", logGroupName=GROUP)["logStreams"]
    assert (stream["logStreamName"], stream["lastEventTimestamp"]) == (STREAM, now_ms(wire))


def test_a_deleted_group_is_gone_and_comes_back_empty(wire: Wire) -> None:
    """A container that still runs writes on; the old lines stay deleted."""
    wire.cloud.hooks.write_log(GROUP, STREAM, "old")
    wire.call("logs", "DeleteLogGroup", logGroupName=GROUP)
    with pytest.raises(RefusedError, match="The specified log group does not exist"):
        messages(wire)
    wire.cloud.hooks.write_log(GROUP, STREAM, "new")
    assert messages(wire) == ["new"]


def test_tokens_walk_forwards_and_wait_at_the_end(wire: Wire) -> None:
    """Following a log is asking again with the same token until there is more."""
    for index in range(5):
        wire.cloud.hooks.write_log(GROUP, STREAM, str(index))
    names = {"logGroupName": GROUP, "logStreamName": STREAM}
    first = wire.call("logs", "GetLogEvents", **names, startFromHead=True, limit=3)
    second = wire.call("logs", "GetLogEvents", **names, nextToken=first["nextForwardToken"], limit=3)
    end = wire.call("logs", "GetLogEvents", **names, nextToken=second["nextForwardToken"], limit=3)
    seen = [event["message"] for page in (first, second, end) for event in page["events"]]
    assert seen == ["0", "1", "2", "3", "4"]
    assert end["nextForwardToken"] == second["nextForwardToken"]
    wire.cloud.hooks.write_log(GROUP, STREAM, "5")
    more = wire.call("logs", "GetLogEvents", **names, nextToken=end["nextForwardToken"])
    assert [event["message"] for event in more["events"]] == ["5"]


def test_without_a_token_the_tail_is_read_and_can_be_walked_back(wire: Wire) -> None:
    """GetLogEvents gives the newest lines, in the order of time."""
    for index in range(5):
        wire.cloud.hooks.write_log(GROUP, STREAM, str(index))
    names = {"logGroupName": GROUP, "logStreamName": STREAM}
    tail = wire.call("logs", "GetLogEvents", **names, limit=2)
    before = wire.call("logs", "GetLogEvents", **names, nextToken=tail["nextBackwardToken"], limit=2)
    assert [event["message"] for event in tail["events"]] == ["3", "4"]
    assert [event["message"] for event in before["events"]] == ["1", "2"]


def test_filtering_sees_every_match_once(wire: Wire) -> None:
    """Pages of a filtered group, over several streams, in the order of time."""
    for index in range(20):
        wire.cloud.hooks.write_log(GROUP, f"s{index % 3}", f"{'ERROR' if index % 2 else 'INFO'} {index}")
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = wire.call("logs", "FilterLogEvents", logGroupName=GROUP, filterPattern="ERROR", limit=3, **token)
        seen += [event["message"] for event in answer["events"]]
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert seen == [f"ERROR {index}" for index in range(1, 20, 2)]
    one = wire.call("logs", "FilterLogEvents", logGroupName=GROUP, logStreamNamePrefix="s1")["events"]
    assert {event["logStreamName"] for event in one} == {"s1"}


def test_time_windows_include_their_start_and_not_their_end(wire: Wire) -> None:
    """As GetLogEvents is documented."""
    wire.call("logs", "CreateLogGroup", logGroupName=GROUP)
    wire.call("logs", "CreateLogStream", logGroupName=GROUP, logStreamName=STREAM)
    base = now_ms(wire)
    events = [{"timestamp": base + offset, "message": str(offset)} for offset in (0, 10, 20)]
    wire.call("logs", "PutLogEvents", logGroupName=GROUP, logStreamName=STREAM, logEvents=events)
    assert messages(wire, startTime=base, endTime=base + 20) == ["0", "10"]


def test_put_leaves_out_what_is_too_old_or_too_new(wire: Wire) -> None:
    """The rest is kept, and the answer says what was not."""
    wire.cloud.hooks.write_log(GROUP, STREAM, "x")
    day_ms = 24 * 3600 * 1000
    times = [now_ms(wire) - 15 * day_ms, now_ms(wire), now_ms(wire) + day_ms]
    events = [{"timestamp": moment, "message": str(moment)} for moment in times]
    answer = wire.call("logs", "PutLogEvents", logGroupName=GROUP, logStreamName=STREAM, logEvents=events)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    assert messages(wire) == ["x", str(times[1])]
    with pytest.raises(RefusedError, match="chronological"):
        wire.call("logs", "PutLogEvents", logGroupName=GROUP, logStreamName=STREAM, logEvents=events[::-1])


@pytest.mark.parametrize(
    ("operation", "params", "code"),
    [
        ("CreateLogGroup", {"logGroupName": GROUP}, "ResourceAlreadyExistsException"),
        ("CreateLogStream", {"logGroupName": GROUP, "logStreamName": STREAM}, "ResourceAlreadyExistsException"),
        ("CreateLogStream", {"logGroupName": "/other", "logStreamName": "s"}, "ResourceNotFoundException"),
        ("GetLogEvents", {"logGroupName": GROUP, "logStreamName": "other"}, "ResourceNotFoundException"),
        ("GetLogEvents", {"logStreamName": STREAM}, "InvalidParameterException"),
        (
            "GetLogEvents",
            {"logGroupName": GROUP, "logStreamName": STREAM, "nextToken": "x"},
            "InvalidParameterException",
        ),
        ("PutRetentionPolicy", {"logGroupName": GROUP, "retentionInDays": 2}, "InvalidParameterException"),
        ("FilterLogEvents", {"logGroupName": GROUP, "filterPattern": "{ $.x = 1 }"}, "InvalidParameterException"),
        ("DescribeLogGroups", {"logGroupNamePrefix": "a", "logGroupNamePattern": "b"}, "InvalidParameterException"),
    ],
)
def test_calls_that_aws_refuses(wire: Wire, operation: str, params: dict[str, object], code: str) -> None:
    """AWS's codes."""
    wire.cloud.hooks.write_log(GROUP, STREAM, "x")
    with pytest.raises(RefusedError) as refused:
        wire.call("logs", operation, **params)
    assert refused.value.code == code


def test_retention_removes_what_is_older(wire: Wire) -> None:
    """PutRetentionPolicy is kept, described and carried out; other groups are not touched."""
    wire.cloud.hooks.write_log(GROUP, STREAM, "old")
    wire.cloud.hooks.write_log("/kept", STREAM, "old")
    wire.call("logs", "PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)

    async def a_day_and_a_minute() -> None:
        await wire.cloud.start()
        await wire.clock.advance(1)
        wire.clock._now += 25 * 3600
        await wire.clock.advance(120)
        for task in tuple(wire.cloud._tasks):
            task.cancel()

    asyncio.run(a_day_and_a_minute())
    assert messages(wire) == []
    kept = wire.call("logs", "GetLogEvents", logGroupName="/kept", logStreamName=STREAM)["events"]
    assert len(kept) == 1
    (group,) = wire.call("logs", "DescribeLogGroups", logGroupNamePrefix="/aws")["logGroups"]
    assert group["retentionInDays"] == 1


def test_tags_belong_to_the_group(wire: Wire) -> None:
    """Written at creation or later, by the ARN without the star that DescribeLogGroups also gives."""
    wire.call("logs", "CreateLogGroup", logGroupName=GROUP, tags={"a": "1"})
    (group,) = wire.call("logs", "DescribeLogGroups")["logGroups"]
    wire.call("logs", "TagResource", resourceArn=group["logGroupArn"], tags={"b": "2"})
    wire.call("logs", "UntagResource", resourceArn=group["logGroupArn"], tagKeys=["a"])
    assert wire.call("logs", "ListTagsForResource", resourceArn=group["logGroupArn"])["tags"] == {"b": "2"}


def test_lines_survive_a_restart(tmp_path: Path) -> None:
    """The file is read by the next cloud, even when the first never closed it."""
    first = EventStorage(tmp_path / "events")
    first.add(GROUP, Event(STREAM, 1, 1, "kept"))
    first.flush()
    second = EventStorage(tmp_path / "events")
    assert [event.message for event in second.read(GROUP, Window(), limit=10)] == ["kept"]


def test_storage_is_bounded() -> None:
    """A chatty container fills neither the disk nor the memory, and the newest lines are the ones that stay."""
    storage = EventStorage(None)
    for index in range(MAX_EVENTS_PER_STREAM + 3_000):
        storage.add("g", Event("s", index, index, str(index)))
        if index % 1_000 == 0:
            storage.flush()
    kept = storage.read("g", Window(), limit=100_000)
    assert len(kept) == MAX_EVENTS_PER_STREAM
    assert kept[-1].message == str(MAX_EVENTS_PER_STREAM + 2_999)
    for index in range(MAX_PENDING + 5):
        storage.add("g", Event("t", index, index, "x"))
    assert storage.dropped == 5
    storage.add("g", Event("s", 0, 0, "x"))
    storage.flush()
    storage.add("long", Event("s", 0, 0, "é" * MAX_MESSAGE_BYTES))
    (cut,) = storage.read("long", Window(), limit=1)
    assert len(cut.message.encode()) <= MAX_MESSAGE_BYTES


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b"])), max_size=40), st.integers(1, 7))
def test_any_page_size_reads_the_same_lines(arrivals: list[tuple[int, str]], limit: int) -> None:
    """Forwards or backwards, in any page size, with equal times: each line once, in order of time and arrival."""
    storage = EventStorage(None)
    for index, (moment, stream) in enumerate(arrivals):
        storage.add("g", Event(stream, moment, moment, str(index)))
    expected = [str(index) for index, _ in sorted(enumerate(arrivals), key=lambda each: (each[1][0], each[0]))]
    forwards: list[str] = []
    after = None
    while page := storage.read("g", Window(), limit=limit, after=after):
        forwards += [event.message for event in page]
        after = page[-1].place
    backwards: list[str] = []
    before = None
    while page := storage.read("g", Window(), limit=limit, after=before, backwards=True):
        backwards[:0] = [event.message for event in page]
        before = page[0].place
    assert forwards == backwards == expected


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR disk", "ERROR: no disk", True),
        ("ERROR disk", "ERROR: no memory", False),
        ('"no disk"', "ERROR: no disk", True),
        ('"disk no"', "ERROR: no disk", False),
        ("?disk ?memory", "no memory", True),
        ("ERROR -disk", "ERROR: no disk", False),
        (r'"say \"hi\""', 'I say "hi" there', True),
    ],
)
def test_text_patterns(pattern: str, message: str, matches: bool) -> None:  # noqa: FBT001 - a parameter
    """All words, quoted phrases, any of, none of; case matters."""
    assert text_filter(pattern).matches(message) is matches


@pytest.mark.parametrize("pattern", ["{ $.level = 1 }", "[ip, user]", "%ERR.R%"])
def test_structured_patterns_are_refused(pattern: str) -> None:
    """Ledger logs.filter-text-only: an empty answer would look like no errors."""
    with pytest.raises(UnsupportedPatternError):
        text_filter(pattern)


def test_two_clouds_do_not_share_lines(tmp_path: Path) -> None:
    """The file is in the cloud's own folder."""
    one, two = new_wire(tmp_path / "one"), new_wire(tmp_path / "two")
    one.cloud.hooks.write_log(GROUP, STREAM, "x")
    assert two.call("logs", "DescribeLogGroups")["logGroups"] == []
