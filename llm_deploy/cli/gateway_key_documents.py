"""Keys and usage as documents and tables: what `llmdeploy gateway keys` writes. Never anything of a secret."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_deploy.gateway.state.records import KeyRecord


def key_document(key: KeyRecord) -> dict[str, Any]:
    """A key for people and programs: without anything of its secret."""
    return {
        "name": key.name,
        "key_id": key.key_id,
        "state": key_state(key),
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "created_at": iso(key.created_at_s),
        "expires_at": iso(key.expires_at_s),
        "revoked_at": iso(key.revoked_at_s),
        "old_secret_until": iso(key.previous_until_s),
        "limits": asdict(key.limits),
    }


def cell(value: object) -> str:
    """A value in a table."""
    return ",".join(value) if isinstance(value, list) else "-" if value is None else str(value)


def key_state(key: KeyRecord) -> str:
    """In use, expired or revoked."""
    from time import time

    if key.revoked_at_s is not None:
        return "revoked"
    return "expired" if key.expires_at_s is not None and key.expires_at_s <= time() else "in use"


def iso(seconds: float | None) -> str | None:
    """Seconds since 1970 as people and programs read them, UTC."""
    from datetime import UTC, datetime

    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def usage_document(line: dict[str, Any], by: str) -> dict[str, Any]:
    """A line of usage with its hour or day in words."""
    hour = line.pop("hour")
    if by == "total":
        return line
    begin = str(iso(hour * 3600))
    return {by: begin[:13] if by == "hour" else begin[:10]} | line


def write_csv(documents: list[dict[str, Any]]) -> None:
    """CSV on standard output, with a head; nothing where there is nothing."""
    import csv
    import sys

    if documents:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(documents[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(documents)
