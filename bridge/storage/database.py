"""A database for callers on the event loop. Durable when a call returns; the loop never waits for a disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from bridge.core.errors import StartError, StorageError
from bridge.storage.database_errors import explain
from bridge.storage.limits import StorageLimits
from bridge.storage.migrations import Schema
from bridge.storage.opening import open_database
from bridge.storage.worker import Worker

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Database:
    """SQLite or PostgreSQL behind one thread with one connection, for the tables of every package in the process.

    Each package hands in its schema and keeps what it reads and writes to itself.
    """

    def __init__(self, url: str, schemas: Sequence[Schema], limits: StorageLimits = StorageLimits()) -> None:
        """``url`` as ``check_database_url`` takes it. Nothing is opened yet."""
        self._url = url
        self._schemas = schemas
        self._limits = limits
        self._worker = Worker("database", limits)
        self._engine: Engine | None = None
        self._failing = False

    async def open(self) -> None:
        """Connect, check and migrate. StartError in one line when that cannot be; the database is then closed."""

        def start() -> None:
            self._engine = open_database(self._url, self._schemas, self._limits)

        try:
            await self._worker.run(start, seconds=self._limits.open_seconds)
        except BaseException as error:
            await self.close()
            if isinstance(error, StorageError):
                raise StartError(f"the database: {error}") from None
            raise

    async def close(self) -> None:
        """Do what waits, for some seconds at most, and disconnect. More calls are refused. May be called again."""
        await self._worker.close(lambda: self._engine.dispose() if self._engine is not None else None)

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """What ``work`` returns, called on the thread in a transaction: done whole or not at all.

        StorageError when the database refuses, is too slow, or too much waits for it already. When the caller is
        cancelled the work is still done; a failure is then one line in the log. Once its cause is gone the database
        works again by itself.
        """
        return await self._worker.run(lambda: self._transaction(work))

    def _transaction(self, work: Callable[[Connection], _T]) -> _T:
        """On the thread. The errors' chain ends here: PostgreSQL's own quote rows."""
        if self._engine is None:
            raise StorageError("the database is not open")
        try:
            with self._engine.begin() as connection:
                result = work(connection)
                if self._worker.is_given_up():  # a database that hung is back: undo what was answered as failed
                    raise StorageError("the database answered too late; this was not done")
        except IntegrityError as error:  # the database is well
            raise StorageError(explain(error)) from None
        except SQLAlchemyError as error:
            reason = explain(error)
            if not self._failing:
                self._failing = True
                _log.warning("the database fails: %s", reason)
            raise StorageError(reason) from None
        if self._failing:
            self._failing = False
            _log.info("the database works again")
        return result
