"""Changing, revoking and listing shares, when all goes well and when the database says no."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.errors import StorageError
from share.model.draft import Changes, InvalidRequestError, ShareEndedError
from share.model.limits import ShareLimits
from share.model.share import EndReason, Status
from tests.stored import NOW, Office, draft, settle

MOST = ShareLimits().max_waiting_changes


async def test_change_is_stored_then_told() -> None:
    """What is not named stays."""
    office = Office()
    share = await office.share("A", "B", label="old")
    after = await office.links.change(share, Changes(ends_at=NOW + 7200, aliases={"B": "Boat"}, max_viewers=5))
    assert office.audience.words == ["opened", "changed"]
    assert office.store.rows[share.id] == after == office.links.find_open(share.id) == office.audience.newest
    assert after.grant.aliases == (("A", "Van of 0"), ("B", "Boat"))
    assert (after.label, after.ends_at, after.max_viewers) == ("old", NOW + 7200, 5)
    assert replace(after, grant=share.grant, ends_at=share.ends_at, max_viewers=None) == share
    cleared = await office.links.change(after, Changes(max_viewers=None, label=""))
    assert (cleared.label, cleared.max_viewers, cleared.ends_at) == ("", None, NOW + 7200)


async def test_extended_share_lives_on_and_shortened_one_ends() -> None:
    """The deadline moves with the end."""
    office = Office()
    share = await office.share(ends_in=10)
    longer = await office.links.change(share, Changes(ends_at=NOW + 20))
    await office.pass_time(15)
    assert office.links.find_open(share.id) == longer
    await office.links.change(share, Changes(ends_at=office.clock.now + 2))
    await office.pass_time(3)
    assert office.links.find_open(share.id) is None
    assert office.audience.words == ["opened", "changed", "changed", "closed expired"]


async def test_concurrent_changes_do_not_lose_each_other() -> None:
    """Each is made to what the one before has left, though both began with the same share."""
    office = Office()
    share = await office.share("A", "B")
    office.store.gate.clear()
    changes = (
        Changes(label="Parcel"), Changes(max_viewers=3), Changes(aliases={"A": "Ant"}), Changes(aliases={"B": "Bee"}),
        Changes(ends_at=NOW + 50), Changes(password_hash="$argon2id$x"),
    )  # fmt: skip
    tasks = [asyncio.create_task(office.links.change(share, change)) for change in changes]
    await settle()
    office.store.gate.set()
    await asyncio.gather(*tasks)
    after = office.store.rows[share.id]
    assert after == office.links.find_open(share.id)
    assert (after.label, after.max_viewers, after.ends_at, after.password_hash) == (
        "Parcel", 3, NOW + 50, "$argon2id$x",
    )  # fmt: skip
    assert after.grant.aliases == (("A", "Ant"), ("B", "Bee"))


async def test_concurrent_changes_cannot_give_one_alias_twice() -> None:
    """Both were right when they were asked for; the second is not any more."""
    office = Office()
    share = await office.share("A", "B")
    tasks = [
        asyncio.create_task(office.links.change(share, Changes(aliases={device_id: "Same"}))) for device_id in "AB"
    ]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], InvalidRequestError)
    assert office.store.rows[share.id].grant.aliases == (("A", "Same"), ("B", "Van of 1"))


@pytest.mark.parametrize("end", ["change", "revoke"])
async def test_what_is_not_stored_has_not_happened(end: str) -> None:
    """StorageError: the share is as it was, its viewers stay, and the next try succeeds."""
    office = Office()
    share = await office.share()
    office.store.failing = {"replace"}
    calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "change": lambda: office.links.change(share, Changes(label="new")),
        "revoke": lambda: office.links.revoke(share),
    }
    for _ in range(2):
        with pytest.raises(StorageError):
            await calls[end]()
    assert office.links.find_open(share.id) == share == office.store.rows[share.id]
    assert office.audience.words == ["opened"]
    office.store.failing.clear()
    await calls[end]()
    assert office.audience.words == ["opened", "changed" if end == "change" else "closed revoked"]


async def test_revoked_is_revoked_once() -> None:
    """Over in both places; a second time nothing is written and the answer is the same."""
    office = Office()
    share, code = await office.links.create("ana", draft())
    over = await office.links.revoke(share)
    assert (over.status(NOW), over.ended_at, over.end_reason) == (Status.REVOKED, NOW, EndReason.REVOKED)
    assert office.store.rows[share.id] == over == await office.links.find_by_code(code)
    assert office.links.find_open(share.id) is None
    writes = office.store.calls.count("replace")
    office.clock.now += 5
    assert await office.links.revoke(share) == over
    assert await office.links.revoke(over) == over
    assert office.store.calls.count("replace") == writes
    assert office.audience.words == ["opened", "closed revoked"]
    await office.pass_time(3700, step=100)
    assert office.audience.words == ["opened", "closed revoked"]


async def test_cancelled_revocation_is_carried_out() -> None:
    """The client that hung up did ask for it."""
    office = Office()
    share = await office.share()
    office.store.gate.clear()
    task = asyncio.create_task(office.links.revoke(share))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert office.audience.words == ["opened"]
    office.store.gate.set()
    await settle()
    assert office.audience.words == ["opened", "closed revoked"]
    assert office.store.rows[share.id].end_reason is EndReason.REVOKED


async def test_nothing_of_one_that_is_over_can_be_changed() -> None:
    """Revoked, expired, or arrived; and it stays what it was when it is revoked again."""
    office = Office()
    revoked, expired, arrived = [await office.share(ends_in=ends) for ends in (100, 10, 100)]
    await office.links.revoke(revoked)
    office.links.arrived(arrived.id)
    await office.pass_time(11)
    for share, reason in ((revoked, EndReason.REVOKED), (expired, None), (arrived, EndReason.ARRIVED)):
        with pytest.raises(ShareEndedError):
            await office.links.change(share, Changes(ends_at=NOW + 1000))
        assert (await office.links.revoke(share)).end_reason is reason
        assert office.store.rows[share.id].ends_at == share.ends_at


async def test_change_and_revocation_at_once() -> None:
    """In whatever order they come, in the end it is revoked, in both places."""
    for first in (0, 1):
        office = Office()
        share = await office.share()
        work = [office.links.change(share, Changes(label="x")), office.links.revoke(share)]
        await asyncio.gather(work[first], work[1 - first], return_exceptions=True)
        assert office.store.rows[share.id].end_reason is EndReason.REVOKED
        assert len(office.links) == 0
        assert office.audience.words[-1] == "closed revoked"


async def test_stuck_database_does_not_collect_changes() -> None:
    """Beyond ``max_waiting_changes`` the next one is refused at once; those that wait get their turn."""
    office = Office()
    share = await office.share()
    office.store.gate.clear()
    tasks = [asyncio.create_task(office.links.change(share, Changes(label=str(number)))) for number in range(MOST)]
    await settle()
    with pytest.raises(StorageError):
        await office.links.revoke(share)
    office.store.gate.set()
    await asyncio.gather(*tasks)
    assert office.store.rows[share.id].label == str(MOST - 1)
    await office.links.revoke(share)


async def test_list_is_what_memory_knows_page_after_page() -> None:
    """Newest first, each once; an arrival that is not stored yet is not shown as active."""
    office = Office()
    shares = []
    for _ in range(5):
        office.clock.now += 1
        shares.append(await office.share())
    office.store.failing = {"replace"}
    office.links.arrived(shares[3].id)
    office.links.count_viewer(shares[0].id)
    found, after = [], None
    while True:
        page = await office.links.list("ana", Status.ACTIVE, 2, after)
        found += [share.id for share in page.shares]
        after = page.after
        if after is None:
            break
    assert found == [shares[index].id for index in (4, 2, 1, 0)]
    assert (await office.links.list("eve", None, 10, None)).shares == []
    assert len((await office.links.list(None, None, 10, None)).shares) == 5


async def test_log_tells_what_happened_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """One line each; no code, hash, label, alias or device."""
    caplog.set_level(logging.INFO)
    office = Office()
    share, code = await office.links.create("ana", draft("device-7", label="secret label"))
    office.audience.watching[share.id] = 3
    await office.links.change(share, Changes(label="other secret", password_hash="$argon2id$x"))
    await office.links.revoke(share)
    other = await office.share("device-7", ends_in=1)
    await office.pass_time(2)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"Share {share.id} of 'ana' created for 1 devices until 2030-03-17T18:46:40.000Z",
        f"Share {share.id} of 'ana' changed, until 2030-03-17T18:46:40.000Z",
        f"Share {share.id} of 'ana' revoked, 3 viewers closed",
        f"Share {other.id} of 'ana' created for 1 devices until 2030-03-17T17:46:41.000Z",
        f"Share {other.id} of 'ana' ended, 0 viewers",
    ]
    assert not any(word in caplog.text for word in (code, share.code_hash, "secret", "device-7", "argon", "Van"))
