"""The thread behind the database: bounded, in order, and never in the way of the end."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.core.errors import StorageError
from bridge.storage.limits import StorageLimits
from bridge.storage.worker import Worker

JOIN_SECONDS = 30.0
"""For a thread that has nothing left to do; reached only when the test fails."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Work that waits for it holds the thread. Open at the end, so that no thread is left behind."""
    gate = threading.Event()
    yield gate
    gate.set()


def thread_of(name: str) -> threading.Thread:
    """The worker's, by its name."""
    [thread] = [thread for thread in threading.enumerate() if thread.name == name]
    return thread


async def started(worker: Worker, count: int, gate: threading.Event) -> list[asyncio.Task[Any]]:
    """As many callers of work that waits for ``gate``; the first of it has begun."""
    begun = threading.Event()

    def work() -> None:
        begun.set()
        gate.wait()

    tasks = [asyncio.create_task(worker.run(work)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.to_thread(begun.wait)
    return tasks


async def test_work_is_done_in_order_and_away_from_the_loop() -> None:
    """Results come back to their callers; all of it was done by one other thread, one after another."""
    worker, order, threads = Worker("test-worker"), [], set()

    def work(number: int) -> int:
        order.append(number)
        threads.add(threading.current_thread().name)
        return number * 2

    results = await asyncio.gather(*(worker.run(lambda n=number: work(n)) for number in range(20)))  # type: ignore[misc]
    assert results == [number * 2 for number in range(20)]
    assert order == list(range(20))
    assert threads == {"test-worker"}
    await worker.close(lambda: None)


async def test_an_error_reaches_its_caller_and_the_next_work_is_done() -> None:
    """Our own bug raises where the work was asked for, and does not end the thread."""
    worker = Worker("test-worker")
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(lambda: 7) == 7
    await worker.close(lambda: None)


@pytest.mark.parametrize("limit", [1, 3])
async def test_more_than_may_wait_is_refused_at_once(gate: threading.Event, limit: int) -> None:
    """The limit itself is let in; one above is refused without waiting; then there is room again."""
    worker = Worker("test-worker", StorageLimits(max_waiting=limit))
    tasks = await started(worker, limit, gate)
    with pytest.raises(StorageError, match=f"{limit} operations wait"):
        await worker.run(lambda: None)
    gate.set()
    await asyncio.gather(*tasks)
    assert await worker.run(lambda: 1) == 1
    await worker.close(lambda: None)


async def test_work_that_waited_too_long_is_not_begun(gate: threading.Event) -> None:
    """Its caller gets StorageError, and it is known that nothing was done."""
    worker, done = Worker("test-worker", StorageLimits(begin_seconds=0.0)), []
    [first, second] = [asyncio.create_task(worker.run(lambda: done.append(1))) for _ in range(2)]
    for task in (first, second):
        with pytest.raises(StorageError, match="not started"):
            await task
    assert done == []
    await worker.close(lambda: None)


async def test_a_database_that_hangs_is_not_waited_for(gate: threading.Event) -> None:
    """The caller hears that it is not known; when the database comes back the worker works again."""
    worker = Worker("test-worker", StorageLimits(answer_seconds=0.01))
    with pytest.raises(StorageError, match="it is not known whether this was done"):
        await worker.run(gate.wait)
    gate.set()
    assert await worker.run(lambda: 7, seconds=5) == 7
    await worker.close(lambda: None)


async def test_what_a_cancelled_caller_asked_for_is_done(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when its turn had not come; that it failed is one line."""
    worker, done = Worker("test-worker"), []

    def fails() -> None:
        done.append("begun")
        raise StorageError("the disk is full")

    tasks = await started(worker, 1, gate)
    tasks += [asyncio.create_task(worker.run(fails))]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    gate.set()
    assert await worker.run(lambda: 7) == 7
    assert done == ["begun"]
    assert [record.getMessage() for record in caplog.records] == [
        "a database operation failed after its caller had gone: the disk is full"
    ]
    await worker.close(lambda: None)


async def test_the_end_comes_after_what_waits(gate: threading.Event) -> None:
    """What was asked for before the close is done before it; what is asked for after it is refused."""
    worker, order = Worker("test-worker", StorageLimits(close_seconds=30.0)), []
    tasks = await started(worker, 1, gate)
    tasks += [asyncio.create_task(worker.run(lambda: order.append("waited")))]
    await asyncio.sleep(0)
    closing = asyncio.create_task(worker.close(lambda: order.append("closed")))
    await asyncio.sleep(0)
    with pytest.raises(StorageError, match="closed"):
        await worker.run(lambda: None)
    gate.set()
    await asyncio.gather(*tasks, closing)
    assert order == ["waited", "closed"]


async def test_a_thread_that_hangs_does_not_hold_up_the_end(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """The close ends in time and says so; the thread, a daemon, ends by itself when it can."""
    worker = Worker("test-worker", StorageLimits(close_seconds=0.01))
    tasks = await started(worker, 1, gate)
    await worker.close(lambda: None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    thread = thread_of("test-worker")
    assert thread.daemon
    gate.set()
    await asyncio.gather(*tasks)
    await asyncio.to_thread(thread.join, JOIN_SECONDS)
    assert not thread.is_alive()


async def test_what_waits_too_long_at_the_end_is_refused(gate: threading.Event) -> None:
    """After the time for the close nothing more is begun, but the connection is still closed."""
    worker, order = Worker("test-worker", StorageLimits(close_seconds=0.0)), []
    first, second = await started(worker, 2, gate)
    thread = thread_of("test-worker")
    closing = asyncio.create_task(worker.close(lambda: order.append("closed")))
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(StorageError, match="not started"):
        await second
    await asyncio.gather(first, closing)
    await worker.close(lambda: order.append("closed twice"))
    await asyncio.to_thread(thread.join, JOIN_SECONDS)
    assert order == ["closed"]


def test_a_loop_that_has_gone_harms_nobody(gate: threading.Event) -> None:
    """A thread that finds its loop closed ends without a word."""
    worker = Worker("test-worker", StorageLimits(answer_seconds=0.01))

    async def leave() -> None:
        with pytest.raises(StorageError):
            await worker.run(gate.wait)

    asyncio.run(leave())
    thread = thread_of("test-worker")
    gate.set()
    thread.join(JOIN_SECONDS)
    assert not thread.is_alive()
