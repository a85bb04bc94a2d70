"""New shares, their codes, and what is left of one that could not be made."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from bridge.core.errors import StorageError
from share.model.draft import TooManySharesError
from share.model.limits import CODE_BYTES
from tests.stored import NOW, Office, draft, settle


async def test_created_share_is_stored_open_and_found() -> None:
    """By id and by the code, which is in the answer and nowhere else."""
    office = Office()
    share, code = await office.links.create("ana", draft("A", "B", label="Parcel"))
    assert office.store.rows == {share.id: share}
    assert office.audience.told == [("opened", share.id)]
    assert (share.owner, share.label, share.created_at) == ("ana", "Parcel", NOW)
    assert share.code_hash == hashlib.sha256(code.encode()).hexdigest()
    assert code not in repr(office.store.rows)
    assert office.links.find_open(share.id) is share
    assert await office.links.find(share.id) is share
    assert await office.links.find_by_code(code) is share
    assert len(office.links) == 1
    assert "by_id" not in office.store.calls
    assert "by_code_hash" not in office.store.calls


async def test_codes_cannot_be_guessed() -> None:
    """128 random bits, and never the same twice."""
    office = Office(max_shares=1000)
    codes = {(await office.links.create("ana", draft()))[1] for _ in range(300)}
    assert len(codes) == 300
    assert CODE_BYTES * 8 == 128
    assert {len(code) for code in codes} == {22}


@pytest.mark.parametrize("code", ["", "x" * 10_000, "ö\ud800", "../../etc/passwd", "' OR 1=1 --"])
async def test_strange_codes_are_just_unknown(code: str) -> None:
    """Whatever is asked for."""
    assert await Office().links.find_by_code(code) is None


async def test_failed_insert_makes_no_share() -> None:
    """Neither in memory nor for the audience; and its place is free again."""
    office = Office(max_shares=1)
    office.store.failing = {"insert"}
    for _ in range(3):
        with pytest.raises(StorageError):
            await office.share()
    assert (len(office.links), office.audience.told, office.store.rows) == (0, [], {})
    office.store.failing.clear()
    await office.share()
    with pytest.raises(TooManySharesError):
        await office.share()


async def test_no_more_than_max_shares_are_open() -> None:
    """Also when they are all made at once; one that has ended makes room."""
    office = Office(max_shares=3)
    office.store.gate.clear()
    attempts = [asyncio.create_task(office.share()) for _ in range(5)]
    await settle()
    office.store.gate.set()
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert [type(result) for result in results].count(TooManySharesError) == 2
    assert len(office.links) == len(office.store.rows) == 3
    share = office.links.find_open(next(iter(office.store.rows)))
    assert share is not None
    await office.links.revoke(share)
    await office.share()


async def test_cancelled_create_leaves_memory_and_database_at_one() -> None:
    """Who asked has gone; the share is there, in both, and can be seen and revoked."""
    office = Office()
    office.store.gate.clear()
    task = asyncio.create_task(office.share())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(office.links) == 0
    office.store.gate.set()
    await settle()
    assert [row.id for row in office.store.rows.values()] == [share_id for _, share_id in office.audience.told]
    assert len(office.links) == 1


async def test_cancelled_and_failed_create_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else would hear of it; and asyncio has nothing to complain of."""
    office = Office()
    office.store.failing = {"insert"}
    office.store.gate.clear()
    task = asyncio.create_task(office.share())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    office.store.gate.set()
    await settle()
    assert len(office.links) == 0
    assert "a change failed after its caller had gone: StorageError" in caplog.text
