"""Alembic's scripts: how the tables came to be what `state.tables` says. `state.schema` runs them."""
