"""One thread that does blocking work in order, for callers on the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from bridge.core.errors import StorageError
from bridge.storage.limits import StorageLimits

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(slots=True)
class _Job:
    work: Callable[[], Any]
    future: asyncio.Future[Any]
    begin_deadline: float
    abandoned: bool = False
    """No caller waits for it any more."""
    given_up: bool = False
    """The caller got an error."""


class Worker:
    """Runs what blocks on its one thread, in the order of the calls. All methods are for the loop and never block it.

    The thread is a daemon and not one of an executor: Python waits for those at exit, and one that hangs in a
    driver would then keep the process from ending.
    """

    def __init__(self, name: str, limits: StorageLimits = StorageLimits()) -> None:
        """``name`` is the thread's."""
        self._limits = limits
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._closing = False
        self._last_begin = float("inf")
        self._running: _Job | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def run(self, work: Callable[[], _T], *, seconds: float | None = None) -> _T:
        """What ``work`` returns or raises, done on the thread.

        StorageError at once when ``max_waiting`` operations wait or after ``close``, and after ``seconds`` (by default
        ``answer_seconds``) without an answer. When the caller is cancelled the work is still done, whole; should it
        fail, that is a line in the log.
        """
        if self._closing:
            raise StorageError("the database is closed")
        if self._waiting >= self._limits.max_waiting:
            raise StorageError(f"the database is too slow: {self._waiting} operations wait for it already")
        if not self._thread.is_alive():
            self._thread.start()
        return await self._answer(
            work, self._limits.begin_seconds, self._limits.answer_seconds if seconds is None else seconds
        )

    async def close(self, last: Callable[[], object]) -> None:
        """Do what waits, then ``last``, and end the thread. Returns after 2 * ``close_seconds`` at the latest."""
        if self._closing:
            return
        self._closing = True
        if not self._thread.is_alive():
            return
        self._last_begin = time.monotonic() + self._limits.close_seconds
        try:
            await self._answer(last, float("inf"), 2 * self._limits.close_seconds)
        except StorageError as error:
            _log.warning("the database was not closed in order: %s", error)
        finally:
            self._jobs.put(None)

    async def _answer(self, work: Callable[[], _T], begin_seconds: float, answer_seconds: float) -> _T:
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        job = _Job(work, future, time.monotonic() + begin_seconds)
        self._waiting += 1
        self._jobs.put(job)
        try:
            done, _ = await asyncio.wait((future,), timeout=answer_seconds)
        except asyncio.CancelledError:
            job.abandoned = True
            raise
        if not done:
            job.abandoned = job.given_up = True
            raise StorageError(
                f"the database has not answered for {answer_seconds:.0f} s; it is not known whether this was done"
            )
        return future.result()

    def _settle(self, job: _Job, result: object, error: Exception | None) -> None:
        self._waiting -= 1
        if job.abandoned:
            if error is not None:
                _log.warning("a database operation failed after its caller had gone: %s", error)
        elif error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    # --- on the thread ---------------------------------------------------------------------------------

    def is_given_up(self) -> bool:
        """For work to ask before its last step: whether its caller has got an error already."""
        return self._running is not None and self._running.given_up

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = self._outcome(job)
            try:
                job.future.get_loop().call_soon_threadsafe(self._settle, job, result, error)
            except RuntimeError:  # the loop is closed: the process is ending
                return

    def _outcome(self, job: _Job) -> tuple[object, Exception | None]:
        # What closes the database has no deadline: it must come after everything else.
        if time.monotonic() > min(job.begin_deadline, self._last_begin) and job.begin_deadline != float("inf"):
            return None, StorageError("the database is too slow: this was not started")
        self._running = job
        try:
            return job.work(), None
        except Exception as error:  # whatever it is, it belongs to the caller
            return None, error
