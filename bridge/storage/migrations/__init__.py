"""How the tables of one package reach their newest form. The steps belong to the package that owns the tables."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection


class NewerSchemaError(Exception):
    """The database was brought to a form that this release does not know."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one package. Several schemas live in one database and know nothing of one another."""

    steps: Path
    """The folder of the steps, one Alembic revision in each file: a single line, without branches."""
    version_table: str
    """Where the database records which step it has reached. No two schemas of one database have the same."""


def configuration(connection: Connection, schema: Schema) -> Config:
    """Alembic's, for ``schema`` and ``connection``; there is no file of settings."""
    from alembic.config import Config

    config = Config()
    for option, folder in (("script_location", Path(__file__).parent), ("version_locations", schema.steps)):
        config.set_main_option(option, str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")  # a folder's name may hold any other separator
    config.attributes.update(connection=connection, version_table=schema.version_table)
    return config


def upgrade(connection: Connection, schema: Schema) -> None:
    """Take every step that is missing, in the transaction that ``connection`` is in. NewerSchemaError."""
    config = check_known(connection, schema)
    from alembic import command

    command.upgrade(config, "head")


def check_known(connection: Connection, schema: Schema) -> Config:
    """Alembic's settings, if the tables' form is one of ours or there are none yet; NewerSchemaError.

    Alembic is imported here, as nothing else needs it: it costs a fifth of a second, and more on a small machine.
    """
    # Alembic tells of itself at INFO, some of it while it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = configuration(connection, schema)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    context = MigrationContext.configure(connection, opts={"version_table": schema.version_table})
    if unknown := set(context.get_current_heads()) - known:
        raise NewerSchemaError(", ".join(sorted(unknown)))
    return config
