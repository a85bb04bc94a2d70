"""The end of the links with a database that does not answer."""

from __future__ import annotations

import asyncio

import pytest

from share.model.draft import Changes
from share.model.limits import ShareLimits
from tests.stored import Office, settle


@pytest.mark.parametrize("what", ["arrival", "viewers", "change"])
async def test_a_database_that_hangs_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture, what: str) -> None:
    """After ``close_seconds`` it is given up, whatever waits for it, and one line says what is lost."""
    office = Office(limits=ShareLimits(close_seconds=0.01))
    share = await office.share()
    office.store.gate.clear()
    change = None
    if what == "arrival":
        office.links.arrived(share.id)
    elif what == "viewers":
        office.links.count_viewer(share.id)
    else:
        change = asyncio.create_task(office.links.change(share, Changes(label="late")))
        await settle()
    async with asyncio.timeout(5):
        await office.links.close()
    assert f"the ends of {what == 'arrival':d} by arrival and {what == 'viewers':d} viewers" in caplog.text
    if change is not None:  # the store answers it in the end, if only with a refusal
        office.store.gate.set()
        assert (await change).label == "late"
