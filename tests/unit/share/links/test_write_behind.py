"""What happens to shares by itself: their end, arrivals, the count of viewers, the removal of old ones, a restart."""

from __future__ import annotations

import asyncio

import pytest

from bridge.core.errors import StorageError
from share.model.draft import Changes
from share.model.limits import PURGE_SECONDS, VIEWERS_SECONDS
from share.model.share import EndReason, Status
from tests.stored import DAY, NOW, Office, settle


async def test_share_ends_on_time_and_nothing_is_written() -> None:
    """It leaves memory; the database says the same by its clock."""
    office = Office()
    share = await office.share(ends_in=5)
    await office.pass_time(4)
    assert office.audience.words == ["opened"]
    await office.pass_time(2)
    assert office.audience.words == ["opened", "closed expired"]
    assert office.links.find_open(share.id) is None
    found = await office.links.find(share.id)
    assert found is not None
    assert found.status(office.clock.now) is Status.ENDED
    assert "replace" not in office.store.calls
    assert len(office.deadlines) == 0


async def test_jump_of_the_wall_clock_ends_what_is_over() -> None:
    """A machine that slept notices within a second."""
    office = Office()
    await office.share(ends_in=DAY)
    office.clock.now += 2 * DAY
    office.timers.advance(1.0)
    assert office.audience.words == ["opened", "closed expired"]


async def test_extension_at_the_last_moment_opens_the_share_again() -> None:
    """The end came while the change was being written: memory then says what the database says."""
    office = Office()
    share = await office.share(ends_in=5)
    office.store.gate.clear()
    task = asyncio.create_task(office.links.change(share, Changes(ends_at=NOW + 100)))
    await office.pass_time(6)
    assert office.audience.words == ["opened", "closed expired"]
    office.store.gate.set()
    after = await task
    assert office.links.find_open(share.id) == after == office.store.rows[share.id]
    assert office.audience.words == ["opened", "closed expired", "opened"]


async def test_relabelled_at_the_last_moment_stays_over() -> None:
    """The end came while the new label was being written."""
    office = Office()
    share = await office.share(ends_in=5)
    office.store.gate.clear()
    task = asyncio.create_task(office.links.change(share, Changes(label="late")))
    await office.pass_time(6)
    office.store.gate.set()
    assert (await task).label == "late"
    assert office.links.find_open(share.id) is None
    assert office.audience.words == ["opened", "closed expired"]


# --- restart --------------------------------------------------------------------------------------------


async def test_restart_opens_what_was_open_and_nothing_else() -> None:
    """Not what was revoked, had arrived or has expired; an upcoming one too; and each ends on time."""
    before = Office()
    opened = await before.share(ends_in=100)
    revoked, arrived = await before.share(), await before.share()
    await before.share(ends_in=5)
    await before.links.revoke(revoked)
    before.links.arrived(arrived.id)
    await before.links.close()
    after = Office(before.store)
    after.clock.now = NOW + 10
    await after.links.load()
    assert after.audience.told == [("opened", opened.id)]
    await after.pass_time(91)
    assert after.audience.words == ["opened", "closed expired"]
    await after.links.close()


async def test_database_that_cannot_be_read_opens_nothing() -> None:
    """The error is the caller's; nothing goes on in the background."""
    office = Office()
    office.store.failing = {"load_open"}
    with pytest.raises(StorageError):
        await office.links.load()
    assert len(office.links) == 0
    assert office.timers.due == []


# --- counting -------------------------------------------------------------------------------------------


async def test_viewers_are_counted_in_one_call_every_few_seconds() -> None:
    """What is shown is right at every moment: stored and not yet stored."""
    office = Office()
    await office.links.load()
    first, second = await office.share(), await office.share()

    def shown() -> list[int]:
        found = [office.links.find_open(share.id) for share in (first, second)]
        return [share.viewers_total + office.links.pending_viewers(share.id) for share in found if share]

    for share in (first, second, first):
        office.links.count_viewer(share.id)
    assert shown() == [2, 1]
    assert "add_viewers" not in office.store.calls
    await office.pass_time(VIEWERS_SECONDS)
    assert shown() == [2, 1]
    assert [office.store.rows[share.id].viewers_total for share in (first, second)] == [2, 1]
    await office.pass_time(2 * VIEWERS_SECONDS)
    assert office.store.calls.count("add_viewers") == 1
    office.links.count_viewer(first.id)
    await office.links.change(first, Changes(label="x"))
    assert shown() == [3, 1]
    await office.links.close()
    assert office.store.rows[first.id].viewers_total == 3


async def test_count_that_fails_is_kept_for_the_next_try() -> None:
    """Also what is counted while the database is asked."""
    office = Office()
    await office.links.load()
    share = await office.share()
    office.links.count_viewer(share.id)
    office.store.failing = {"add_viewers"}
    await office.pass_time(2 * VIEWERS_SECONDS)
    assert office.links.pending_viewers(share.id) == 1
    office.store.failing.clear()
    office.store.gate.clear()
    await office.pass_time(VIEWERS_SECONDS)
    office.links.count_viewer(share.id)
    office.store.gate.set()
    await settle()
    assert (office.store.rows[share.id].viewers_total, office.links.pending_viewers(share.id)) == (1, 1)
    await office.links.close()
    assert (office.store.rows[share.id].viewers_total, office.links.pending_viewers(share.id)) == (2, 0)


async def test_viewers_of_a_share_that_is_over_are_counted_too() -> None:
    """They came before its end."""
    office = Office()
    share = await office.share()
    office.links.count_viewer(share.id)
    office.store.failing = {"replace"}
    office.links.arrived(share.id)
    await settle()
    office.store.failing.clear()
    await office.links.close()
    assert office.store.rows[share.id].viewers_total == 1
    assert office.store.rows[share.id].end_reason is EndReason.ARRIVED


# --- purging and supervision ----------------------------------------------------------------------------


async def test_old_shares_are_removed_at_the_start_and_every_hour() -> None:
    """Those that ended longer ago than they are kept; never one that is open."""
    office = Office()
    old, kept = await office.share(ends_in=10), await office.share(ends_in=40 * DAY)
    office.clock.now = NOW + 29 * DAY
    await office.links.load()
    await settle()
    assert (office.store.calls.count("purge"), len(office.store.rows)) == (1, 2)
    office.clock.now = NOW + 30 * DAY + 11
    await office.pass_time(PURGE_SECONDS, step=PURGE_SECONDS / 4)
    assert office.store.calls.count("purge") == 2
    assert list(office.store.rows) == [kept.id]
    assert old.id not in office.store.rows
    await office.links.close()


async def test_bug_in_the_background_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """With its place, and without its text, which may quote a row; the next try succeeds."""
    office = Office()
    await office.links.load()
    share = await office.share(label="private words")
    office.links.count_viewer(share.id)
    office.store.broken = {"add_viewers", "purge"}
    await office.pass_time(VIEWERS_SECONDS)
    bugs = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(bugs) == 1
    assert "counting viewers failed: ZeroDivisionError" in caplog.text
    assert "add_viewers" in caplog.text
    assert "private words" not in caplog.text
    office.store.broken.clear()
    await office.pass_time(VIEWERS_SECONDS)
    assert office.store.rows[share.id].viewers_total == 1
    await office.links.close()


async def test_nothing_goes_on_after_close() -> None:
    """No timer sets off new work, and what was running has ended."""
    office = Office()
    await office.links.load()
    share = await office.share()
    office.store.gate.clear()
    change = asyncio.create_task(office.links.change(share, Changes(label="last")))
    closing = asyncio.create_task(office.links.close())
    await settle()
    assert not closing.done()
    office.store.gate.set()
    await closing
    assert (await change).label == "last"
    calls = list(office.store.calls)
    office.links.count_viewer(share.id)
    await office.pass_time(60, step=5)
    assert office.store.calls == calls
