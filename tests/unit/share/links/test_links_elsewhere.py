"""What another process, or our own clock, has done to a share behind our back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from share.model.draft import Changes, ShareEndedError
from share.model.limits import ARRIVALS_SECONDS
from share.model.share import EndReason, Share, Status
from tests.stored import NOW, FakeStore, Office, draft, settle


async def test_share_that_ended_by_a_clock_that_was_ahead_is_opened_again() -> None:
    """The database knows better, and the first who comes with the code makes us look."""
    office = Office()
    share, code = await office.links.create("ana", draft())
    office.clock.now += 7200
    office.deadlines.enforce()
    assert office.links.find_open(share.id) is None
    office.clock.now = NOW + 1
    assert await office.links.find_by_code(code) == share
    assert office.links.find_open(share.id) == share
    assert office.audience.words == ["opened", "closed expired", "opened"]


async def test_share_that_another_process_made_is_opened_by_its_code() -> None:
    """Once, however many come with it at the same time."""
    store = FakeStore()
    maker, other = Office(store), Office(store)
    share, code = await maker.links.create("ana", draft())
    store.gate.clear()
    visitors = [other.links.find_by_code(code) for _ in range(5)]
    waiting = asyncio.gather(*visitors)
    await settle()
    store.gate.set()
    assert await waiting == [share] * 5
    assert other.audience.words == ["opened"]


async def test_share_that_another_process_revoked_is_not_brought_back_by_a_change() -> None:
    """The change is refused, the database stays as it was, and here the share has ended too."""
    store = FakeStore()
    ours, other = Office(store), Office(store)
    share, _ = await ours.links.create("ana", draft())
    await other.links.revoke(share)
    with pytest.raises(ShareEndedError):
        await ours.links.change(share, Changes(label="back"))
    assert store.rows[share.id].status(NOW) is Status.REVOKED
    assert ours.links.find_open(share.id) is None
    assert ours.audience.words == ["opened", "closed revoked"]


async def test_revoking_what_another_process_has_ended_ends_it_here_and_says_how() -> None:
    """Nothing is overwritten: the share stays one that arrived."""
    store = FakeStore()
    ours = Office(store)
    share, _ = await ours.links.create("ana", draft())
    store.rows[share.id] = replace(share, ended_at=NOW, end_reason=EndReason.ARRIVED)
    assert (await ours.links.revoke(share)).end_reason is EndReason.ARRIVED
    assert store.rows[share.id].end_reason is EndReason.ARRIVED
    assert ours.links.find_open(share.id) is None


async def test_arrival_of_a_share_that_is_gone_from_the_database_is_not_tried_for_ever() -> None:
    """There is nothing left to be stored."""
    store = FakeStore()
    office = Office(store)
    share, _ = await office.links.create("ana", draft())
    del store.rows[share.id]
    office.links.arrived(share.id)
    await settle()
    tried = office.store.calls.count("replace")
    await office.pass_time(3 * ARRIVALS_SECONDS)
    assert office.store.calls.count("replace") == tried == 1


async def test_share_that_arrives_in_the_moment_of_its_opening_is_told_as_over() -> None:
    """The device is at the destination already: the share has ended before the caller gets an answer."""
    store = FakeStore()
    maker, other = Office(store), Office(store)
    share, code = await maker.links.create("ana", draft())
    opened = other.audience.opened

    def arrive(opening: Share) -> None:
        opened(opening)
        asyncio.get_running_loop().call_soon(other.links.arrived, opening.id)

    other.audience.opened = arrive  # type: ignore[method-assign, assignment]
    found = await other.links.find_by_code(code)
    assert found is not None
    assert (found.id, found.end_reason) == (share.id, EndReason.ARRIVED)
