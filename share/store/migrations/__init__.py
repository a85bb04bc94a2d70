"""The tables' history. Each file in ``versions`` is one step; ``upgrade`` takes the steps that are missing.

A new step: change ``share/store/tables.py``, copy the newest file in ``versions`` under the next number, name the one
before it in ``down_revision``, and write what changes. A test compares the outcome of the steps
with the tables.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection


class NewerSchemaError(Exception):
    """The database was brought to a form that this release does not know."""


def configuration(connection: Connection) -> Config:
    """Alembic's, for this folder and ``connection``; there is no file of settings."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to ``revision`` in the transaction that ``connection`` is in. NewerSchemaError."""
    config = check_known(connection)
    from alembic import command

    command.upgrade(config, revision)


def check_known(connection: Connection) -> Config:
    """Alembic's settings, if the tables' form is one of ours or there are none yet; NewerSchemaError.

    Alembic is imported here, as nothing else needs it: it costs a fifth of a second, and more on a small machine.
    """
    # Alembic tells of itself at INFO, some of it while it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = configuration(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if unknown := set(MigrationContext.configure(connection).get_current_heads()) - known:
        raise NewerSchemaError(", ".join(sorted(unknown)))
    return config
