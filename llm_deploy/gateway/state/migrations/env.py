"""What Alembic runs: the revisions, on the connection that `state.schema` has opened and locked."""

from __future__ import annotations

from alembic import context

from llm_deploy.gateway.state.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transaction_per_migration=False,
)
context.run_migrations()
