"""What Alembic runs for each of its commands. The connection and its transaction are the caller's."""

from __future__ import annotations

from alembic import context

given = context.config.attributes
context.configure(connection=given["connection"], version_table=given["version_table"])
context.run_migrations()
