"""The tables, as SQLAlchemy's models. The migrations make them; a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Double, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KEY_ID: Final = String(32)
LONGEST_NAME: Final = 200
NAME: Final = String(LONGEST_NAME)
PROCESS_ID: Final = String(32)
GONE: Final = "gone"
"""The process under whose name the claims of those that have ended are added up."""


class Base(DeclarativeBase):
    """What the tables have in common: their metadata."""


class KeyRevision(Base):
    """One row: a number that grows with every change of a key, so that a gateway sees at a glance whether one did.

    Who changes a key locks this row first; so revisions are committed in their order, and none is overlooked.
    """

    __tablename__ = "key_revision"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)


class ApiKey(Base):
    """A key: `records.KeyRecord`. Rows are never deleted, because usage refers to them."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(
            "one_name_in_use",
            "name",
            unique=True,
            sqlite_where=text("revoked_at_s IS NULL"),
            postgresql_where=text("revoked_at_s IS NULL"),
        ),
        Index("keys_by_revision", "revision"),
    )

    key_id: Mapped[str] = mapped_column(KEY_ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    previous_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    previous_until_s: Mapped[float | None] = mapped_column(Double)
    scopes: Mapped[list[str]] = mapped_column(JSON(none_as_null=True))
    models: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    created_at_s: Mapped[float] = mapped_column(Double)
    expires_at_s: Mapped[float | None] = mapped_column(Double)
    revoked_at_s: Mapped[float | None] = mapped_column(Double)
    requests_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    tokens_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)
    tokens_total: Mapped[int | None] = mapped_column(BigInteger)
    concurrency: Mapped[int | None] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger)


class Usage(Base):
    """What was used, by key, model, route and hour of UTC."""

    __tablename__ = "usage"
    __table_args__ = (Index("usage_by_hour", "hour"),)

    key_id: Mapped[str] = mapped_column(KEY_ID, primary_key=True)
    model: Mapped[str] = mapped_column(NAME, primary_key=True)
    scope: Mapped[str] = mapped_column(String(32), primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    generated_tokens: Mapped[int] = mapped_column(BigInteger)
    refused: Mapped[int] = mapped_column(BigInteger)


class Process(Base):
    """A running gateway process, and the number of the last batch that it has written."""

    __tablename__ = "processes"

    process_id: Mapped[str] = mapped_column(PROCESS_ID, primary_key=True)
    seen_at_s: Mapped[float] = mapped_column(Double)
    last_batch: Mapped[int] = mapped_column(BigInteger)


class BudgetClaim(Base):
    """What one process has been granted of a budget, and has spent of it."""

    __tablename__ = "budget_claims"

    key_id: Mapped[str] = mapped_column(KEY_ID, primary_key=True)
    day: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """`limits.FOREVER` for a budget that is never renewed."""
    process_id: Mapped[str] = mapped_column(PROCESS_ID, primary_key=True)
    granted: Mapped[int] = mapped_column(BigInteger)
    spent: Mapped[int] = mapped_column(BigInteger)
