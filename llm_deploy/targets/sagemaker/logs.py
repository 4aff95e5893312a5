"""The containers' logs, from CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llm_deploy.aws import Session, aws_errors
from llm_deploy.errors import NotFoundError

ENDPOINTS = "/aws/sagemaker/Endpoints/"
COMPONENTS = "/aws/sagemaker/InferenceComponents/"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container. `time_ms` is Unix time in milliseconds."""

    time_ms: int
    group: str
    stream: str
    text: str
    event_id: str


def log_groups(endpoint: str, components: Iterable[str]) -> tuple[str, ...]:
    """The groups that SageMaker writes for an endpoint and its components."""
    return (ENDPOINTS + endpoint, *(COMPONENTS + name for name in components))


def read(session: Session, groups: Iterable[str], *, since_ms: int = 0) -> list[LogLine]:
    """Every line since a moment, oldest first. A group that does not exist (yet) has none."""
    lines = [line for group in groups for line in _lines(session, group, since_ms)]
    return sorted(lines, key=lambda line: line.time_ms)


def exist(session: Session, groups: Iterable[str]) -> bool:
    """Whether any of the groups exists, empty or not; it takes no other permission than reading does."""
    return any(_exists(session, group) for group in groups)


def _exists(session: Session, group: str) -> bool:
    try:
        with aws_errors(f"read the log group {group}"):
            session.client("logs").filter_log_events(logGroupName=group, limit=1)
    except NotFoundError:
        return False
    return True


def _lines(session: Session, group: str, since_ms: int) -> Iterator[LogLine]:
    client: Any = session.client("logs")
    try:
        with aws_errors(f"read the log group {group}"):
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since_ms)
            events = [event for page in pages for event in page["events"]]
    except NotFoundError:
        return
    for event in events:
        yield LogLine(event["timestamp"], group, event["logStreamName"], event["message"].rstrip(), event["eventId"])
