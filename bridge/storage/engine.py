"""One connection to SQLite or PostgreSQL. Everything here blocks; it belongs on the database's thread."""

from __future__ import annotations

import sqlite3
import time
from functools import partial
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import ArgumentError

from bridge.core.errors import StartError
from bridge.storage.limits import StorageLimits

_WAL_RETRY_SECONDS: Final = 0.01
"""Between two tries to have a file alone that another node has just made."""


def make_engine(url: URL, limits: StorageLimits) -> Engine:
    """An engine that keeps one connection; nothing is connected yet. StartError when a part of ``url`` is wrong."""
    sqlite = url.get_backend_name() == "sqlite"
    try:
        engine = create_engine(
            url,
            connect_args=_sqlite_arguments(limits) if sqlite else _postgresql_arguments(url, limits),
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
        event.listen(engine, "connect", partial(_prepare_sqlite, busy_seconds=limits.busy_seconds))
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", partial(_prepare_postgresql, statement_seconds=limits.statement_seconds))
    return engine


def _sqlite_arguments(limits: StorageLimits) -> dict[str, Any]:
    # No isolation level: Python's sqlite3 would begin transactions by itself, late and not before DDL.
    return {"timeout": limits.busy_seconds, "isolation_level": None}


def _postgresql_arguments(url: URL, limits: StorageLimits) -> dict[str, Any]:
    arguments = {
        "application_name": "telemetry-bridge",
        "connect_timeout": limits.connect_seconds,
        "tcp_user_timeout": int(limits.link_seconds * 1000),
        "keepalives_idle": int(limits.link_seconds),
        "keepalives_interval": 1,
        # Prepared statements do not outlive a transaction behind PgBouncer, and ours are too rare to gain by them.
        "prepare_threshold": None,
    }
    return {name: value for name, value in arguments.items() if name not in url.query}


def _prepare_sqlite(connection: Any, _record: object, *, busy_seconds: float) -> None:
    cursor = connection.cursor()
    # Readers (a backup, the command line) and the writer do not wait for each other.
    _use_wal(cursor, busy_seconds)
    # With WAL the default, NORMAL, may lose the newest commits at a power cut: a share would be open again.
    cursor.execute("PRAGMA synchronous = FULL")
    # In a container nothing else can be written, not even /tmp.
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _use_wal(cursor: Any, busy_seconds: float) -> None:
    """The change needs the file alone for a moment, and SQLite's own time-out does not always wait for that."""
    deadline = time.monotonic() + busy_seconds
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


def _prepare_postgresql(connection: Any, _record: object, *, statement_seconds: float) -> None:
    # Not as the start-up packet's `options`, which PgBouncer refuses.
    cursor = connection.cursor()
    cursor.execute(f"SET statement_timeout = {int(statement_seconds * 1000)}")
    cursor.close()
    connection.commit()
