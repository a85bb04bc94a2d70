"""A database that hangs for longer than its callers wait, and then goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from share.model.errors import StorageError
from share.store.store import Store
from tests.share_rows import a_share


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """One whose callers wait a moment only."""
    store = Store(f"sqlite:///{tmp_path}/shares.sqlite3")
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("cancelled", [False, True], ids=["told that it failed", "gone"])
async def test_what_was_answered_as_failed_is_not_done_later(store: Store, cancelled: bool) -> None:
    """A change whose caller was told no is taken back when the database goes on; one whose caller left is done."""
    share = a_share()
    await store.insert(share)
    store._worker._answer_seconds = 0.05 if not cancelled else 60.0
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE"):
            hangs.set()
            goes_on.wait(10)

    assert store._engine is not None
    event.listen(store._engine, "after_cursor_execute", hang)
    change = asyncio.create_task(store.replace(replace(share, label="late")))
    await asyncio.to_thread(hangs.wait, 10)
    if cancelled:
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
    else:
        with pytest.raises(StorageError, match="has not answered"):
            await change
    goes_on.set()
    store._worker._answer_seconds = 10.0
    found = await store.by_id(share.id)
    assert found is not None
    assert found.label == ("late" if cancelled else share.label)
