"""One connection to SQLite or PostgreSQL. Everything here blocks; it belongs on the store's thread."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from bridge.core.errors import StartError
from bridge.storage.database_errors import explain
from bridge.storage.database_url import check_database_url
from share.store.migrations import NewerSchemaError, check_known, upgrade

BUSY_SECONDS: Final = 2.0
"""How long SQLite waits for another program's write lock. A backup or the command line holds it for milliseconds."""
CONNECT_SECONDS: Final = 5
"""From the first packet to a PostgreSQL session; libpq takes whole seconds, and 2 at least."""
STATEMENT_SECONDS: Final = 5.0
"""One PostgreSQL statement, its wait for locks included. Ours take milliseconds."""
LINK_SECONDS: Final = 5.0
"""Unacknowledged bytes or an unanswered keep-alive for this long: PostgreSQL's host is gone (tcp(7))."""
MIGRATION_SECONDS: Final = 60.0
"""One statement of a migration, the wait for another node's migration included."""
MIGRATION_LOCK: Final = 0x7368_6172_6573
"""The advisory lock under which nodes that start together migrate one after another: "shares" in ASCII."""

_POSTGRESQL_ARGUMENTS: Final = {
    "application_name": "telemetry-bridge",
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": int(LINK_SECONDS * 1000),
    "keepalives_idle": int(LINK_SECONDS),
    "keepalives_interval": 1,
    # Prepared statements do not outlive a transaction behind PgBouncer, and ours are too rare to gain by them.
    "prepare_threshold": None,
}
_WAL_RETRY_SECONDS: Final = 0.01
"""Between two tries to have a file alone that another node has just made."""
_MODE: Final = 0o600
"""Of a file that we make: it holds hashes of passwords, and where somebody's journey goes."""


def open_database(url: str) -> Engine:
    """An engine of one connection to a database that is sound, writable and in its newest form.

    A SQLite file that is missing is made, its folder is not. StartError, in one line without any password, when the
    host or the database does not let us.
    """
    target = _parsed(url)
    name = _name(target)
    sqlite = target.get_backend_name() == "sqlite"
    engine = _engine(target, sqlite=sqlite)
    try:
        if sqlite:
            _make_file(target)
            _check_file(engine, name)
        _migrate(engine)
    except NewerSchemaError as error:
        engine.dispose()
        raise _newer(name, error) from None
    except SQLAlchemyError as error:
        engine.dispose()
        raise StartError(f"{name} cannot be used: {explain(error)}") from None
    except StartError:
        engine.dispose()
        raise
    return engine


def probe_database(url: str) -> str:
    """What the operator knows the database by, if it can be reached, is sound, and a file could be made or written.

    Nothing is made and nothing is changed. StartError as of ``open_database``.
    """
    target = _parsed(url)
    name = _name(target)
    engine: Engine | None = None
    try:
        if target.get_backend_name() != "sqlite":
            engine = _engine(target, sqlite=False)
        elif target.database and target.database != ":memory:" and not target.database.startswith("file:"):
            path = Path(target.database).absolute()
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
                check_known(connection)
    except NewerSchemaError as error:
        raise _newer(name, error) from None
    except SQLAlchemyError as error:
        raise StartError(f"{name} cannot be used: {explain(error)}") from None
    except OSError as error:
        raise StartError(f"{name} cannot be reached ({error.strerror}): let this user into its folder") from None
    finally:
        if engine is not None:
            engine.dispose()
    return name


def _newer(name: str, error: NewerSchemaError) -> StartError:
    return StartError(
        f"{name} was made by a newer release of telemetry-bridge ({error}): run that one, or use another database"
    )


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


def _make_file(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return  # nothing to make, or SQLite's own URI syntax, whose writer knows what should be there
    path = Path(url.database).absolute()
    _check_folder(path)
    try:
        # SQLite gives its -wal and -shm files the mode of this one.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE))
    except FileExistsError:
        pass
    except OSError as error:
        raise StartError(
            f"the database {path} cannot be made ({error.strerror}): let this user write to its folder, "
            "or change BRIDGE_DATABASE_URL"
        ) from None


def _check_folder(path: Path) -> None:
    if not os.path.isdir(path.parent):  # noqa: PTH112 - Path.is_dir raises where the folder above may not be entered
        raise StartError(f"the folder {path.parent} does not exist: make it, or change BRIDGE_DATABASE_URL")


# --- the connection ------------------------------------------------------------------------------------


def _engine(url: URL, *, sqlite: bool) -> Engine:
    arguments: dict[str, Any]
    if sqlite:
        # No isolation level: Python's sqlite3 would begin transactions on its own, late and not before DDL.
        arguments = {"timeout": BUSY_SECONDS, "isolation_level": None}
    else:
        arguments = {name: value for name, value in _POSTGRESQL_ARGUMENTS.items() if name not in url.query}
    try:
        engine = create_engine(
            url,
            connect_args=arguments,
            hide_parameters=True,  # they would stand in the text of every error
            # One thread, one connection; QueuePool keeps it, also one to a database in memory.
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=not sqlite,
        )
    except ModuleNotFoundError:
        raise StartError(
            "PostgreSQL needs one more package: pip install 'telemetry-bridge[postgresql]', or use sqlite:///path"
        ) from None
    except (ValueError, TypeError, ArgumentError):  # the reason would quote it
        raise StartError("BRIDGE_DATABASE_URL: an option after the ? cannot be read") from None
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # Readers (a backup, the command line) and the writer do not wait for each other.
    _use_wal(cursor)
    # With WAL the default, NORMAL, may lose the newest commits at a power cut: a share would be open again.
    cursor.execute("PRAGMA synchronous = FULL")
    # In a container nothing else can be written, not even /tmp.
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """The change needs the file alone for a moment, and SQLite's own time-out does not always wait for that."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # Not as the start-up packet's `options`, which PgBouncer refuses.
    cursor = connection.cursor()
    cursor.execute(f"SET statement_timeout = {int(STATEMENT_SECONDS * 1000)}")
    cursor.close()
    connection.commit()


# --- at the start --------------------------------------------------------------------------------------


def _check_file(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise StartError(f"{name} is damaged ({' '.join(str(found).split())}): put a backup in its place")


def _migrate(engine: Engine) -> None:
    """To the newest form, all steps or none, and one node at a time."""
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(MIGRATION_SECONDS * 1000)}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        upgrade(connection)
        # BEGIN IMMEDIATE succeeds on a read-only file, and there may have been nothing to do: this tells.
        connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
