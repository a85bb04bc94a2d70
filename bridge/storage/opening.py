"""A database by its URL: opened, checked and brought to its newest form, or only looked at. Everything here blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, ColumnClause, Engine, column, create_engine, make_url, table, update
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from bridge.core.errors import StartError
from bridge.storage.database_errors import explain
from bridge.storage.database_url import check_database_url
from bridge.storage.engine import make_engine
from bridge.storage.limits import StorageLimits
from bridge.storage.migrations import NewerSchemaError, Schema, check_known, upgrade

MIGRATION_LOCK: Final = 0x7368_6172_6573
"""The advisory lock under which nodes that start together migrate one after another: "shares" in ASCII, as the first
release had it."""
_MODE: Final = 0o600
"""Of a file that we create: it holds hashes of passwords, and where someone's journey goes."""


def open_database(url: str, schemas: Sequence[Schema], limits: StorageLimits) -> Engine:
    """An engine of one connection to a database that is sound, writable, and in the newest form of every schema.

    A SQLite file that is missing is created, its folder is not. StartError, in one line without any password, when the
    host or the database refuses.
    """
    target = _parsed(url)
    name = _name(target)
    engine = make_engine(target, limits)
    try:
        with _explained(name):
            if target.get_backend_name() == "sqlite":
                _create_file(target)
                _check_file(engine, name)
            _migrate(engine, schemas, limits)
    except BaseException:
        engine.dispose()
        raise
    return engine


def probe_database(url: str, schemas: Sequence[Schema], limits: StorageLimits) -> str:
    """What the operator knows the database by, if it can be reached, is sound, and a file could be created or written.

    Nothing is created and nothing is changed. StartError as of ``open_database``.
    """
    target = _parsed(url)
    name = _name(target)
    path = _path(target)
    engine: Engine | None = None
    try:
        with _explained(name):
            if target.get_backend_name() != "sqlite":
                engine = make_engine(target, limits)
            elif path is not None:
                _check_folder(path)
                if path.exists():
                    # A read-only connection would leave -wal and -shm files, of whoever runs this.
                    options = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
                    engine = create_engine(f"sqlite:///file:{path}?{options}&uri=true", hide_parameters=True)
                    _check_file(engine, name)
                if not all(os.access(each, os.W_OK) for each in (path, path.parent) if each.exists()):
                    raise StartError(f"{name} cannot be written: let this user write to it and its folder")
            if engine is not None:
                with engine.connect() as connection:
                    for schema in schemas:
                        check_known(connection, schema)
    except OSError as error:
        raise StartError(f"{name} cannot be reached ({error.strerror}): let this user into its folder") from None
    finally:
        if engine is not None:
            engine.dispose()
    return name


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """What the database and its history say, as a StartError for the operator."""
    try:
        yield
    except NewerSchemaError as error:
        raise StartError(
            f"{name} was made by a newer release of telemetry-bridge ({error}): run that one, or use another database"
        ) from None
    except SQLAlchemyError as error:
        raise StartError(f"{name} cannot be used: {explain(error)}") from None


def _parsed(url: str) -> URL:
    try:
        return make_url(check_database_url(url))
    except (ValueError, ArgumentError) as error:
        reason = str(error) if isinstance(error, ValueError) else "the URL cannot be read"
        raise StartError(f"BRIDGE_DATABASE_URL: {reason}") from None


def _name(url: URL) -> str:
    """What the operator knows it by. Not the URL: a password can be in its query, where nothing hides it."""
    if url.get_backend_name() == "sqlite":
        return f"the database {url.database or 'in memory'}"
    return f"the PostgreSQL database {url.database} on {url.host or 'the local socket'}"


def _path(url: URL) -> Path | None:
    """Of an SQLite file; None in memory, and for SQLite's own URI syntax, whose writer knows what should be there."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name).absolute()


def _create_file(url: URL) -> None:
    path = _path(url)
    if path is None:
        return
    _check_folder(path)
    try:
        # SQLite gives its -wal and -shm files the mode of this one.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE))
    except FileExistsError:
        pass
    except OSError as error:
        raise StartError(
            f"the database {path} cannot be created ({error.strerror}): let this user write to its folder, "
            "or change BRIDGE_DATABASE_URL"
        ) from None


def _check_folder(path: Path) -> None:
    if not os.path.isdir(path.parent):  # noqa: PTH112 - Path.is_dir raises where the folder above may not be entered
        raise StartError(f"the folder {path.parent} does not exist: create it, or change BRIDGE_DATABASE_URL")


def _check_file(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise StartError(f"{name} is damaged ({' '.join(str(found).split())}): put a backup in its place")


def _migrate(engine: Engine, schemas: Sequence[Schema], limits: StorageLimits) -> None:
    """To the newest form, all steps of all schemas or none, and one node at a time."""
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(limits.migration_seconds * 1000)}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        for schema in schemas:
            upgrade(connection, schema)
            # BEGIN IMMEDIATE succeeds on a read-only file, and there may have been nothing to do: this tells.
            version: ColumnClause[str] = column("version_num")
            connection.execute(update(table(schema.version_table, version)).values(version_num=version))
