"""What Alembic runs for each of its commands. The connection and its transaction are the caller's."""

from __future__ import annotations

from alembic import context

from share.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
