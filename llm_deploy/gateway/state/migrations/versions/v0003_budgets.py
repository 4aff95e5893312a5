"""Budgets and concurrency of a key, and what each process has been granted of a budget."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Widen the keys; they have no budget until one is given. Make the claims."""
    for name in ("tokens_per_day", "tokens_total", "concurrency"):
        op.add_column("api_keys", sa.Column(name, sa.BigInteger))
    op.create_table(
        "budget_claims",
        sa.Column("key_id", sa.String(32), primary_key=True),
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("process_id", sa.String(32), primary_key=True),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
    )
