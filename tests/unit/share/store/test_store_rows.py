"""A share and its row: nothing is lost, and nothing is shown that this release does not understand."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings

from bridge.core.errors import StorageError
from share.model.share import Share
from tests.share_rows import NOW, a_share, shares
from tests.share_store import StoredShares
from tests.stored import FakeStore, Office


@pytest.fixture(scope="module")
def runner_and_store() -> Iterator[tuple[asyncio.Runner, StoredShares]]:
    """A separate loop and store, for all examples."""
    with asyncio.Runner() as runner:
        store = StoredShares("sqlite://")
        runner.run(store.open())
        yield runner, store
        runner.run(store.close())


@given(share=shares)
@settings(deadline=None, max_examples=100)
def test_every_share_comes_back_as_it_was(runner_and_store: tuple[asyncio.Runner, StoredShares], share: Share) -> None:
    """Every text, time, number and choice is the same after the database, to the last bit."""
    runner, store = runner_and_store

    async def there_and_back() -> Share | None:
        await store.purge(float("inf"))
        await store.insert(share)
        return await store.by_id(share.id)

    assert runner.run(there_and_back()) == share


@pytest.mark.parametrize(
    "details", ["{}", "nonsense", "[]", "null", '{"version":2,"aliases":[],"fields":[],"destination":null,"hide":1}']
)
async def test_a_row_of_a_newer_release_is_refused(tmp_path: Path, details: str) -> None:
    """A grant that cannot be read whole is not served with what was understood of it; the error names the share."""
    path = tmp_path / "shares.sqlite3"
    store = StoredShares(f"sqlite:///{path}")
    await store.open()
    await store.insert(a_share())
    with sqlite3.connect(path) as other:
        other.execute("UPDATE shares SET details = ?", (details,))
    other.close()
    with pytest.raises(StorageError, match="share id-0001 in the database cannot be read"):
        await store.by_id("id-0001")
    assert await store.load_open(NOW) == await store.list(None, None, NOW, 10, None) == []
    await store.close()


@pytest.mark.parametrize("bad", range(6))
async def test_a_row_that_is_passed_over_does_not_end_the_list(tmp_path: Path, bad: int) -> None:
    """Wherever in a page it stands, also as the one more that tells whether there is another page."""
    path = tmp_path / "shares.sqlite3"
    store = StoredShares(f"sqlite:///{path}")
    await store.open()
    for number in range(6):
        await store.insert(replace(a_share(), id=f"p{number}", code_hash=f"h{number}", created_at=NOW + number))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE shares SET details = '{}' WHERE id = ?", (f"p{bad}",))
    other.close()
    links = Office(cast(FakeStore, store)).links
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await links.list(None, None, 2, after)
        seen += [share.id for share in page.shares]
        after = page.after
        if after is None:
            break
    assert seen == [f"p{number}" for number in reversed(range(6)) if number != bad]
    await store.close()
