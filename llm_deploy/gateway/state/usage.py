"""Usage in the database: added to, and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from llm_deploy.gateway.state.records import Counts, UsageKey
from llm_deploy.gateway.state.tables import ApiKey, BudgetClaim, Usage

Grain = Literal["hour", "day", "total"]
HOURS_A_DAY: Final = 24
MONTH_HOURS: Final = 31 * HOURS_A_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """What a key used of a model by a route in an hour, a day, or altogether.

    Attributes:
        hour: The first hour of it, since 1970, UTC; 0 for altogether.
        refused: Requests that were not admitted; they are not among `requests`.
    """

    key_id: str
    name: str
    model: str
    scope: str
    hour: int
    requests: int
    prompt_tokens: int
    generated_tokens: int
    refused: int


def add(connection: Connection, rows: Mapping[UsageKey, Counts]) -> None:
    """Add to what is there. In the order of the keys, so that two processes never wait for each other crosswise."""
    if rows:
        upsert(
            connection,
            Usage,
            [key._asdict() | counts._asdict() for key, counts in sorted(rows.items())],
            added=Counts._fields,
        )


def read(
    connection: Connection, *, since_hour: int, key_id: str | None = None, grain: Grain = "day"
) -> list[UsageLine]:
    """Usage from this hour on, oldest first."""
    hour = _hour(grain).label("hour")
    sums = [func.sum(getattr(Usage, name)).label(name) for name in Counts._fields]
    groups = [Usage.key_id, ApiKey.name, Usage.model, Usage.scope]
    query = select(*groups, hour, *sums).outerjoin_from(Usage, ApiKey, Usage.key_id == ApiKey.key_id)
    query = query.where(Usage.hour >= since_hour).group_by(*groups, hour).order_by(hour, ApiKey.name, *groups)
    if key_id is not None:
        query = query.where(Usage.key_id == key_id)
    return [_line(row) for row in connection.execute(query).mappings()]


def thin_out(connection: Connection, *, now_hour: int, hours_days: int, days: int) -> None:
    """Add hours that are older than so many days up to days, and delete days that are older than so many.

    A day is kept as its first hour. A month goes at a time, so that no exchange takes long; rows are deleted first and
    thereby locked, so that two processes never add the same ones.
    """
    connection.execute(delete(Usage).where(Usage.hour < now_hour - days * HOURS_A_DAY))
    border = now_hour - hours_days * HOURS_A_DAY
    fine = Usage.hour % HOURS_A_DAY != 0
    oldest = connection.scalar(select(func.min(Usage.hour)).where(Usage.hour < border - border % HOURS_A_DAY, fine))
    if oldest is None:
        return
    until = min(border - border % HOURS_A_DAY, oldest - oldest % HOURS_A_DAY + MONTH_HOURS)
    columns = [getattr(Usage, name) for name in (*UsageKey._fields, *Counts._fields)]
    found = connection.execute(delete(Usage).where(Usage.hour < until, fine).returning(*columns)).all()
    by_day: dict[UsageKey, Counts] = {}
    for row in found:
        key = UsageKey(row.key_id, row.model, row.scope, row.hour - row.hour % HOURS_A_DAY)
        before = by_day.get(key, Counts(0, 0, 0, 0))
        new = (row.requests, row.prompt_tokens, row.generated_tokens, row.refused)
        by_day[key] = Counts(*(int(old + more) for old, more in zip(before, new, strict=True)))
    add(connection, by_day)


def upsert(
    connection: Connection,
    model: type[Usage | BudgetClaim],
    rows: Sequence[Mapping[str, Any]],
    *,
    added: Sequence[str] = (),
    replaced: Sequence[str] = (),
) -> None:
    """Insert rows; where one is there already, add to some columns and replace others."""
    table = cast("Table", model.__table__)
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = insert(table)
    new = statement.excluded
    values = {name: table.c[name] + new[name] for name in added} | {name: new[name] for name in replaced}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values), list(rows)
    )


def _hour(grain: Grain) -> ColumnElement[int]:
    if grain == "total":
        return literal(0)
    return Usage.hour - Usage.hour % HOURS_A_DAY if grain == "day" else Usage.hour + 0


def _line(row: RowMapping) -> UsageLine:
    numbers = {name: int(row[name]) for name in ("hour", *Counts._fields)}
    return UsageLine(key_id=row["key_id"], name=row["name"] or "", model=row["model"], scope=row["scope"], **numbers)
