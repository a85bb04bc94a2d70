"""Too many shares, too many passwords, a database that says no or takes its time, clients that hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from share.api.operator_routes import PATH
from tests.functional.share.operators import operators, untouched
from tests.functional.stream.served import eventually
from tests.stored import FakeStore

BODY = {"device_ids": ["A"], "expires_in": 3600}
NOBODY = "0" * 12


async def test_no_more_shares_than_may_be() -> None:
    """The answer names the setting."""
    async with operators(max_shares=1) as office:
        share = await office.make()
        status, answer, _ = await office.call("POST", "", BODY)
        assert (status, answer["code"]) == (403, "too_many_shares")
        assert "BRIDGE_MAX_SHARES" in answer["message"]
        await office.call("DELETE", f"/{share['id']}")
        await office.make()


async def test_busy_hashing_is_told() -> None:
    """503 and when to come again; nothing is made or changed. And nothing is hashed for who may not ask."""
    async with operators() as office:
        share = await office.make()
        assert await office.refused("POST", "", {**BODY, "device_ids": ["C"], "password": "x"}) == (403, "not_allowed")
        assert office.passwords.hashed == []
        office.passwords.busy = True
        status, answer, headers = await office.call("POST", "", {**BODY, "password": "x"})
        assert (status, answer["code"], headers["Retry-After"]) == (503, "busy", "2")
        assert await office.refused("PATCH", f"/{share['id']}", {"label": "y", "password": "x"}) == (503, "busy")
        await untouched(office, share)


@pytest.mark.parametrize(
    "call, step",
    [("create", "insert"), ("list", "list"), ("change", "replace"), ("revoke", "replace"), ("show", "by_id")],
)
async def test_database_that_says_no_is_never_reported_as_done(call: str, step: str) -> None:
    """503 with Retry-After; the share is still open, and the same call succeeds when the database is well."""
    store = FakeStore()
    async with operators(store) as office:
        share = await office.make()
        other = f"/{share['id'] if call in ('change', 'revoke') else NOBODY}"
        calls: dict[str, Callable[[], Coroutine[Any, Any, tuple[int, Any, Any]]]] = {
            "create": lambda: office.call("POST", "", BODY),
            "list": lambda: office.call("GET"),
            "show": lambda: office.call("GET", other),
            "change": lambda: office.call("PATCH", other, {"label": "x"}),
            "revoke": lambda: office.call("DELETE", other),
        }
        store.failing = {step}
        for _ in range(2):
            status, answer, headers = await calls[call]()
            assert (status, answer["code"]) == (503, "storage_unavailable")
            assert int(headers["Retry-After"]) > 0
        await untouched(office, share)
        store.failing.clear()
        status, _, _ = await calls[call]()
        assert status == {"create": 201, "show": 404}.get(call, 200)


async def test_client_that_hangs_up_leaves_memory_and_database_at_one() -> None:
    """Whether the share is made or not: both say the same, and it can be listed and revoked."""
    store = FakeStore()
    async with operators(store) as office:
        store.gate.clear()
        url, sent = office.server.make_url(PATH), {"Authorization": f"Bearer {office.ana}"}
        async with aiohttp.ClientSession() as http:
            asking = asyncio.ensure_future(http.post(url, headers=sent, json=BODY))
            await eventually(lambda: "insert" in store.calls)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert store.calls.count("insert") == 1
        assert len(office.links) == 0
        store.gate.set()
        await eventually(lambda: len(office.links) == 1)
        assert [("opened", share_id) for share_id in store.rows] == office.audience.told
        assert (await office.call("DELETE", f"/{next(iter(store.rows))}"))[1]["status"] == "revoked"
