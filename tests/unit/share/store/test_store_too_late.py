"""A database that hangs for longer than its callers wait, and then goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bridge.core.errors import StorageError
from bridge.storage.limits import StorageLimits
from tests.share_rows import a_share
from tests.share_store import StoredShares


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/shares.sqlite3"


@pytest.fixture
async def store(url: str) -> AsyncIterator[StoredShares]:
    """One whose callers wait as long as they have to."""
    store = StoredShares(url, StorageLimits(busy_seconds=30.0, answer_seconds=60.0))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def hanging() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Every change of a row hangs: the first event tells that one does, the second lets it go on."""
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE shares"):
            hangs.set()
            goes_on.wait(10)

    event.listen(Engine, "after_cursor_execute", hang)
    yield hangs, goes_on
    goes_on.set()
    event.remove(Engine, "after_cursor_execute", hang)


@pytest.mark.parametrize("cancelled", [False, True], ids=["told that it failed", "gone"])
async def test_what_was_answered_as_failed_is_not_done_later(
    url: str, store: StoredShares, hanging: tuple[threading.Event, threading.Event], cancelled: bool
) -> None:
    """A change whose caller was told no is taken back when the database goes on; one whose caller left is done."""
    share = a_share()
    await store.insert(share)
    hangs, goes_on = hanging
    caller = StoredShares(url, StorageLimits(answer_seconds=60.0 if cancelled else 0.05, close_seconds=30.0))
    await caller.open()
    change = asyncio.create_task(caller.replace(replace(share, label="late")))
    await asyncio.to_thread(hangs.wait, 10)
    if cancelled:
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
    else:
        with pytest.raises(StorageError, match="has not answered"):
            await change
    goes_on.set()
    await caller.close()  # the thread has done what it had begun
    found = await store.by_id(share.id)
    assert found is not None
    assert found.label == ("late" if cancelled else share.label)
