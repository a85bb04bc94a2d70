"""Background work: what is repeated, what no cancellation stops, and what waits for a lock."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from bridge.core.errors import StorageError
from bridge.core.times import Timer

log = logging.getLogger("share.links.background")

_T = TypeVar("_T")
CallLater = Callable[[float, Callable[[], None]], Timer]


class Periodic:
    """Runs ``work`` every ``seconds``, never twice at a time.

    A StorageError is one WARNING until a run succeeds, anything else is our bug: an ERROR each time. Neither ends the
    repetition. Of such a bug only kind and place are logged: its text may quote what was to be stored.
    """

    def __init__(self, name: str, seconds: float, work: Callable[[], Awaitable[None]], call_later: CallLater) -> None:
        """``name`` stands in the log: "Shares: {name} failed"."""
        self._name = name
        self._seconds = seconds
        self._work = work
        self._call_later = call_later
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._failing = False

    def start(self) -> None:
        """Plan the next run, ``seconds`` from now; it replaces what was planned."""
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._call_later(self._seconds, self.now)

    def now(self) -> None:
        """Run at once, and again ``seconds`` later; a run that is under way counts as this one."""
        self.start()
        if not self._closed and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, *, once_more: bool = False) -> None:
        """Wait for the run that is under way; no new ones follow it, but for one last with ``once_more``."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await self._task
        if once_more:
            await self._run()

    async def _run(self) -> None:
        try:
            await self._work()
            self._failing = False
        except StorageError as error:
            if not self._failing:
                log.warning("Shares: %s failed (%s); tried again every %g s", self._name, error, self._seconds)
            self._failing = True
        except Exception as error:
            place = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            log.error("Shares: %s failed: %s\n%s", self._name, type(error).__name__, place)  # noqa: TRY400
        finally:
            self._task = None


class Shielded:
    """Runs work to its end, also when its caller is cancelled."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``. When the caller is cancelled it goes on, and its failure is a line in the log."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def wait(self) -> None:
        """Until nothing is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)


class BoundedLock:
    """A lock that a bounded number of callers may hold or wait for."""

    def __init__(self, limit: int, full: Callable[[], Exception]) -> None:
        """``full`` makes the error for one caller more than ``limit``."""
        self.lock = asyncio.Lock()
        """For a holder that need not be counted."""
        self._limit = limit
        self._full = full
        self._waiting = 0

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Wait for the lock and hold it. Raises what ``full`` makes, at once, when the limit is reached."""
        if self._waiting >= self._limit:
            raise self._full()
        self._waiting += 1
        try:
            async with self.lock:
                yield
        finally:
            self._waiting -= 1


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.warning("Shares: a change failed after its caller had gone: %s", type(error).__name__)
