"""The store's promises, on real SQLite files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from bridge.core.errors import StorageError
from bridge.storage.limits import StorageLimits
from share.model.share import EndReason, Share, Status
from tests.share_rows import NOW, a_share
from tests.share_store import StoredShares


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/shares.sqlite3"


@pytest.fixture
async def store(url: str) -> AsyncIterator[StoredShares]:
    """An empty one."""
    store = StoredShares(url)
    await store.open()
    yield store
    await store.close()


async def keep(store: StoredShares, *shares: Share) -> None:
    """Insert them all."""
    for share in shares:
        await store.insert(share)


async def test_what_was_inserted_is_there_after_a_restart(store: StoredShares, url: str) -> None:
    """A share is found by its id and by its code's hash, also by the next process."""
    share = a_share(password_hash="$argon2id$…", max_viewers=3, label="Tür 7 🚚")
    await store.insert(share)
    await store.close()
    again = StoredShares(url)
    await again.open()
    assert await again.by_id(share.id) == share
    assert await again.by_code_hash(share.code_hash) == share
    await again.close()


async def test_what_is_not_there_is_none(store: StoredShares) -> None:
    """An unknown id and an unknown hash find nothing."""
    await store.insert(a_share())
    assert await store.by_id("other") is None
    assert await store.by_code_hash("other") is None


@pytest.mark.parametrize("changes", [{"code_hash": "other"}, {"id": "other"}])
async def test_an_id_or_code_that_is_there_is_refused(store: StoredShares, changes: dict[str, str]) -> None:
    """Neither an id nor a code is ever given twice; the first share stays as it was."""
    first = a_share()
    await store.insert(first)
    with pytest.raises(StorageError, match="exists already"):
        await store.insert(replace(first, owner="eve", **changes))  # type: ignore[arg-type]
    assert await store.list(None, None, NOW, 10, None) == [first]


async def test_a_replaced_share_keeps_its_count_only(store: StoredShares) -> None:
    """Everything else of it is new, and the other shares are as they were."""
    first, other = a_share(1), a_share(2)
    await keep(store, first, other)
    await store.add_viewers({first.id: 5})
    after = a_share(
        1, code_hash="new", owner="bob", created_at=1.0, starts_at=2.0, ends_at=3.0, label="new", password_hash="new",
        max_viewers=9, ended_at=2.5, end_reason=EndReason.ARRIVED,
    )  # fmt: skip
    await store.replace(after)
    assert await store.by_id(first.id) == replace(after, viewers_total=5)
    assert await store.by_id(other.id) == other


async def test_a_share_that_is_not_there_cannot_be_replaced(store: StoredShares) -> None:
    """A change that found no row is not reported as done."""
    with pytest.raises(StorageError, match="not in the database"):
        await store.replace(a_share())


async def test_open_shares_are_those_that_can_still_be_watched(store: StoredShares) -> None:
    """Upcoming and active ones; not those that ended, were revoked, or whose time is exactly over."""
    active, upcoming = a_share(1, ends_at=NOW + 0.001), a_share(2, starts_at=NOW + 1)
    over = a_share(3, ends_at=NOW)
    arrived = a_share(4, ended_at=NOW - 1, end_reason=EndReason.ARRIVED)
    revoked = a_share(5, ended_at=NOW - 1, end_reason=EndReason.REVOKED)
    await keep(store, active, upcoming, over, arrived, revoked)
    assert sorted(await store.load_open(NOW), key=lambda share: share.id) == [active, upcoming]


async def test_a_status_in_sql_is_the_status_of_the_share(store: StoredShares) -> None:
    """At each corner of every share's times the list gives what ``Share.status`` says."""
    corners = product((NOW, NOW + 10), (NOW + 5, NOW + 20), (None, NOW + 4), (None, *EndReason))
    shares = [
        a_share(number, starts_at=starts_at, ends_at=ends_at, ended_at=ended_at, end_reason=reason)
        for number, (starts_at, ends_at, ended_at, reason) in enumerate(corners)
    ]
    await keep(store, *shares)
    seen = set()
    for now in (NOW - 1, NOW, NOW + 4, NOW + 5, NOW + 9.999, NOW + 10, NOW + 20, NOW + 21):
        for status in Status:
            found = {share.id for share in await store.list(None, status, now, 100, None)}
            assert found == {share.id for share in shares if share.status(now) is status}
            seen |= {status} if found else set()
    assert seen == set(Status)


async def test_pages_cover_the_list_newest_first_and_without_repetition(store: StoredShares) -> None:
    """Of shares made in the same moment the greater id comes first; each is on one page."""
    shares = [a_share(number, created_at=NOW + number // 3) for number in range(10)]
    await keep(store, *shares)
    expected = sorted(shares, key=lambda share: (share.created_at, share.id), reverse=True)
    after, found = None, []
    while page := await store.list("ana", None, NOW, 4, after):
        found += page
        after = page[-1].id
    assert found == expected


async def test_a_list_is_of_one_owner_and_one_status(store: StoredShares) -> None:
    """Owner, status and page narrow the list together."""
    mine = [a_share(number, created_at=NOW + number, ends_at=NOW + number % 2) for number in range(6)]
    await keep(store, *mine, a_share(7, owner="bob"))
    ended = await store.list("ana", Status.ENDED, NOW, 2, mine[4].id)
    assert ended == [mine[2], mine[0]]
    assert len(await store.list(None, None, NOW, 100, None)) == 7


@pytest.mark.parametrize("after", ["unknown", "id-0002"])
async def test_after_a_share_that_is_not_the_owners_comes_nothing(store: StoredShares, after: str) -> None:
    """Another's id, like one that does not exist, tells nothing."""
    await keep(store, a_share(1), a_share(2, owner="bob", created_at=NOW + 5))
    assert await store.list("ana", None, NOW, 10, after) == []


async def test_viewers_are_added_up(store: StoredShares) -> None:
    """Each share gets its own number; an id that is not there is passed over, and nothing to add is no call."""
    await keep(store, a_share(1, viewers_total=3), a_share(2))
    await store.add_viewers({"id-0001": 4, "gone": 9, "id-0002": 1})
    await store.add_viewers({"id-0001": 1})
    await store.add_viewers({})
    assert [share.viewers_total for share in await store.list(None, None, NOW, 10, None)] == [1, 8]


async def test_a_purge_takes_what_was_over_before(store: StoredShares) -> None:
    """The moment of the end counts: the earlier end if there was one, else the planned one; the corner stays."""
    over = a_share(1, ends_at=NOW - 1)
    corner = a_share(2, ends_at=NOW)
    ended = a_share(3, ended_at=NOW - 1, end_reason=EndReason.REVOKED)
    ended_later = a_share(4, ends_at=NOW - 9, ended_at=NOW)
    going_on = a_share(5)
    await keep(store, over, corner, ended, ended_later, going_on)
    assert await store.purge(NOW) == 2
    assert await store.purge(NOW) == 0
    left = await store.list(None, None, NOW, 10, None)
    assert {share.id for share in left} == {corner.id, ended_later.id, going_on.id}


async def test_a_write_whose_caller_has_gone_is_done(store: StoredShares) -> None:
    """A client that hangs up in the middle of its request leaves a share that is there, whole."""
    share = a_share()
    caller = asyncio.create_task(store.insert(share))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await store.by_id(share.id) == share


async def test_many_callers_at_once_are_all_served() -> None:
    """As many as may wait are answered, in order; the one more is refused at once and changes nothing."""
    most = StorageLimits().max_waiting
    # It is the number that is tried here, not the time.
    store = StoredShares("sqlite://", StorageLimits(begin_seconds=60.0, answer_seconds=60.0))
    await store.open()
    calls = [store.insert(a_share(number)) for number in range(most + 1)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * most + [StorageError]
    assert len(await store.load_open(NOW)) == most
    await store.close()


async def test_a_database_in_memory_lives_as_long_as_the_store() -> None:
    """``sqlite://`` needs no file: what was written is read on, and gone with the store."""
    for _ in range(2):
        store = StoredShares("sqlite://")
        await store.open()
        await store.insert(a_share())
        assert await store.by_id("id-0001") == a_share()
        await store.close()


async def test_a_closed_store_refuses(store: StoredShares) -> None:
    """After the end every call is refused; a second close does nothing."""
    await store.close()
    await store.close()
    with pytest.raises(StorageError, match="closed"):
        await store.insert(a_share())


async def test_a_store_that_was_not_opened_refuses(url: str) -> None:
    """No call before ``open`` reaches a database, and closing is allowed."""
    store = StoredShares(url)
    with pytest.raises(StorageError, match="not open"):
        await store.load_open(NOW)
    await store.close()
