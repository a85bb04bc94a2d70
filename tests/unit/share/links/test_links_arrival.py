"""A share that has come to its destination: over at once, and stored as such whatever the database does."""

from __future__ import annotations

import asyncio
import logging

import pytest

from share.model.draft import Changes, ShareEndedError
from share.model.limits import ARRIVALS_SECONDS
from share.model.share import EndReason
from tests.stored import DAY, NOW, Office, draft, settle


async def test_arrival_takes_effect_at_once_and_is_stored_after(caplog: pytest.LogCaptureFixture) -> None:
    """Before anything waits; told and logged once, however often the channel says so."""
    caplog.set_level(logging.INFO)
    office = Office()
    share = await office.share()
    office.links.arrived(share.id)
    office.links.arrived(share.id)
    office.links.arrived("unknown")
    assert office.audience.words == ["opened", "closed arrived"]
    assert office.links.find_open(share.id) is None
    assert office.store.rows[share.id].ended_at is None
    await settle()
    stored = office.store.rows[share.id]
    assert (stored.ended_at, stored.end_reason) == (NOW, EndReason.ARRIVED)
    assert caplog.text.count("ended: arrived") == 1


async def test_arrival_is_stored_as_soon_as_the_database_can(caplog: pytest.LogCaptureFixture) -> None:
    """Tried again until it is; one warning for all tries; meanwhile no answer says that it is active."""
    office = Office()
    share, code = await office.links.create("ana", draft())
    office.store.failing = {"replace"}
    office.links.arrived(share.id)
    await office.pass_time(3 * ARRIVALS_SECONDS)
    assert office.store.calls.count("replace") == 4
    assert office.store.rows[share.id].ended_at is None
    for found in (await office.links.find(share.id), await office.links.find_by_code(code)):
        assert found is not None
        assert found.end_reason is EndReason.ARRIVED
    with pytest.raises(ShareEndedError):
        await office.links.change(share, Changes(label="x"))
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]
    office.store.failing.clear()
    await office.pass_time(ARRIVALS_SECONDS)
    assert office.store.rows[share.id].end_reason is EndReason.ARRIVED
    writes = office.store.calls.count("replace")
    await office.pass_time(3 * ARRIVALS_SECONDS)
    assert office.store.calls.count("replace") == writes


async def test_row_that_is_gone_does_not_keep_other_arrivals_from_being_stored() -> None:
    """Somebody has deleted it by hand."""
    office = Office()
    gone, other = await office.share(), await office.share()
    del office.store.rows[gone.id]
    for share in (gone, other):
        office.links.arrived(share.id)
    await settle()
    await office.pass_time(ARRIVALS_SECONDS)
    assert office.store.rows[other.id].end_reason is EndReason.ARRIVED


async def test_arrival_during_a_change_wins() -> None:
    """Whoever wanted the change hears that it has ended, and it does not open again."""
    office = Office()
    share = await office.share()
    office.store.gate.clear()
    task = asyncio.create_task(office.links.change(share, Changes(ends_at=NOW + DAY)))
    await settle()
    office.links.arrived(share.id)
    office.store.gate.set()
    with pytest.raises(ShareEndedError):
        await task
    await settle()
    assert office.audience.words == ["opened", "closed arrived"]
    assert office.store.rows[share.id].end_reason is EndReason.ARRIVED
    assert (await Office(office.store).links.find(share.id)) == office.store.rows[share.id]


async def test_arrival_during_a_revocation_is_a_revocation() -> None:
    """What the owner was told is what stays; viewers hear of one end."""
    office = Office()
    share = await office.share()
    office.store.gate.clear()
    task = asyncio.create_task(office.links.revoke(share))
    await settle()
    office.links.arrived(share.id)
    office.store.gate.set()
    assert (await task).end_reason is EndReason.REVOKED
    await office.pass_time(2 * ARRIVALS_SECONDS)
    assert office.store.rows[share.id].end_reason is EndReason.REVOKED
    assert office.audience.words == ["opened", "closed arrived"]
