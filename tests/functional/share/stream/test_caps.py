"""How many may watch: of one share, of all, from one address; and who is counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from bridge.storage.database import Database
from share.model.draft import Changes
from share.model.limits import ShareLimits
from share.model.share import Share
from share.store.store import Store
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import QUICK, STREAM, SharingBridge, seed
from tests.functional.stream.clients import Client
from tests.functional.stream.served import eventually


async def admitted(bridge: SharingBridge, token: str) -> Client:
    """A viewer that has said hello."""
    viewer = await bridge.view(token)
    await viewer.expect("hello")
    return viewer


async def told_full(bridge: SharingBridge, token: str) -> None:
    """The next viewer gets ``too_many_viewers`` and 1013: later there may be room."""
    code, events = await (await bridge.view(token)).end()
    assert (code, [event["data"]["code"] for event in events]) == (1013, ["too_many_viewers"])


async def refused(bridge: SharingBridge, token: str) -> tuple[int, str | None]:
    """Status and Retry-After of a stream that is refused before the upgrade."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await bridge.connect(STREAM, token)
    assert caught.value.headers is not None
    return caught.value.status, caught.value.headers.get("Retry-After")


async def test_viewers_of_one_share(bridge: SharingBridge) -> None:
    """``max_viewers`` at the same time; who leaves makes room at once, and init answers however full it is."""
    share, code = await bridge.share(max_viewers=2)
    token = await bridge.token_of(code)
    first, _ = [await admitted(bridge, token) for _ in range(2)]
    await told_full(bridge, token)
    assert (await bridge.init(code))[0] == 200
    assert bridge.sharing.links.viewers(share.id) == 2
    await first.leave()
    await eventually(lambda: bridge.sharing.links.viewers(share.id) == 1)
    await admitted(bridge, token)
    await told_full(bridge, token)


async def test_cap_can_be_changed(bridge: SharingBridge) -> None:
    """A lower one closes nobody, and no viewer hears of it; a higher one, or none, counts for the next."""
    share, code = await bridge.share(max_viewers=2)
    token = await bridge.token_of(code)
    viewers = [await admitted(bridge, token) for _ in range(2)]
    share = await bridge.sharing.links.change(share, Changes(max_viewers=1))
    await told_full(bridge, token)
    bridge.publish(seed("A"))
    for viewer in viewers:
        assert [event["event"] for event in await viewer.quiet()] == ["message"]
    await bridge.sharing.links.change(share, Changes(max_viewers=None))
    await admitted(bridge, token)


async def test_own_cap_of_the_server(start: StartSharing) -> None:
    """``MAX_CONNECTIONS_PER_SHARE`` bounds each share, whatever it asks for; another share has its own places."""
    bridge = await start(max_connections_per_share=1)
    _, code = await bridge.share(max_viewers=100)
    _, other = await bridge.share()
    token = await bridge.token_of(code)
    await admitted(bridge, token)
    await told_full(bridge, token)
    await admitted(bridge, await bridge.token_of(other))


async def test_streams_of_all_shares(start: StartSharing) -> None:
    """503 before the upgrade above ``MAX_PUBLIC_CONNECTIONS``; a fleet's watcher still gets in."""
    bridge = await start(max_public_connections=3, public_requests_per_minute=0)
    _, code = await bridge.share()
    _, other = await bridge.share()
    tokens = [await bridge.token_of(code), await bridge.token_of(other)]
    viewers = [await admitted(bridge, tokens[number % 2]) for number in range(3)]
    for token in tokens:
        assert await refused(bridge, token) == (503, "30")
    await bridge.watch("A")
    await bridge.join()
    await viewers[0].leave()
    await eventually(lambda: bridge.sharing.entrance.viewers == 2)
    await admitted(bridge, tokens[0])


async def test_streams_that_come_together_do_not_pass_the_cap(start: StartSharing) -> None:
    """Of thirty at the same moment just as many get in as may."""
    bridge = await start(max_public_connections=5, public_requests_per_minute=0)
    _, code = await bridge.share()
    token = await bridge.token_of(code)

    async def come() -> bool:
        try:
            viewer = await bridge.view(token)
        except aiohttp.WSServerHandshakeError:
            return False
        await viewer.expect("hello")
        return True

    assert sum(await asyncio.gather(*(come() for _ in range(30)))) == 5
    assert bridge.sharing.entrance.viewers == 5


async def test_streams_of_one_address(start: StartSharing) -> None:
    """Viewers and fleet's watchers of one address share ``MAX_CONNECTIONS_PER_IP``; behind a proxy its word counts."""
    bridge = await start(max_connections_per_ip=2, trusted_proxies="127.0.0.0/8")
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    for forwarded in ("203.0.113.1", "203.0.113.1", "9.9.9.9, 203.0.113.2"):
        client = await bridge.connect(STREAM, token, headers={"X-Forwarded-For": forwarded})
        await client.expect("hello")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await bridge.connect(STREAM, token, headers={"X-Forwarded-For": "9.9.9.9, 203.0.113.1"})
    assert caught.value.status == 429
    assert set(bridge.streaming.admission.by_ip) == {"203.0.113.1", "203.0.113.2"}


async def test_subjects_cap_is_not_for_viewers(start: StartSharing) -> None:
    """All viewers of a share hold tokens of one share, and are not one person."""
    bridge = await start(max_connections_per_principal=1)
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    for _ in range(3):
        await admitted(bridge, token)


async def test_who_is_counted(start: StartSharing) -> None:
    """Open streams now, and all that ever began; who was refused is in neither. The count is stored within seconds."""
    bridge = await start(limits=replace(QUICK, viewers_seconds=0.05))
    share, code = await bridge.share(max_viewers=2)
    token = await bridge.token_of(code)
    first, second = [await admitted(bridge, token) for _ in range(2)]
    await told_full(bridge, token)
    await (await bridge.view("nonsense")).end()
    await (await bridge.connect(f"{STREAM}?token={token}&x=1")).end()
    links = bridge.sharing.links
    assert (links.viewers(share.id), bridge.came(share)) == (2, 2)
    await second.leave()
    await eventually(lambda: links.viewers(share.id) == 1)
    await admitted(bridge, token)
    assert (links.viewers(share.id), bridge.came(share)) == (2, 3)
    await eventually(lambda: links.pending_viewers(share.id) == 0)
    found = await links.find(share.id)
    assert found is not None
    assert (found.viewers_total, links.pending_viewers(share.id)) == (3, 0)
    assert bridge.sharing.statistics() == {"open": 1, "rooms": 1, "viewers": 2}
    await links.revoke(share)
    await first.end()
    over = await links.find(share.id)
    assert over is not None and over.viewers_total == 3


async def test_drain(bridge: SharingBridge) -> None:
    """1001 to every viewer at once; no new ones, and the share stays open for after the restart."""
    share, code = await bridge.share()
    token = await bridge.token_of(code)
    viewers = [await admitted(bridge, token) for _ in range(5)]
    waiting = await bridge.raw()  # connected before the door closes
    draining = asyncio.create_task(bridge.drain(3.0))
    for viewer in viewers:
        code_, events = await viewer.end()
        assert (code_, events) == (1001, [])
    status, _ = await waiting.request("GET", STREAM, Authorization=f"Bearer {token}")
    assert status == 503
    await draining
    assert bridge.sharing.links.find_open(share.id) is not None


async def test_one_viewer_too_many_sees_no_positions_by_asking_again_and_again(bridge: SharingBridge) -> None:
    """``init`` gives its token and says what the share is, but where the device is only while there is a place."""
    _, code = await bridge.share(max_viewers=1)
    bridge.publish(seed("A"))
    status, answer = await bridge.init(code)
    assert (status, answer["share"]["devices"][0]["position"]["lat"]) == (200, 1.5)
    viewer = await admitted(bridge, answer["token"])
    status, answer = await bridge.init(code)
    assert (status, answer["share"]["devices"]) == (200, [{"alias": "Van 1", "position": None}])
    await viewer.leave()


MAX_LOOKUPS = ShareLimits().max_lookups


class UnaskedStore(Store):
    """Shares of which none may be looked up by its code."""

    async def by_code_hash(self, code_hash: str) -> Share | None:
        raise AssertionError("it was looked up")


class SlowStore(Store):
    """Shares that are found by their codes when ``free`` is set."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.free = asyncio.Event()

    async def by_code_hash(self, code_hash: str) -> Share | None:
        await self.free.wait()
        return await super().by_code_hash(code_hash)


async def test_texts_that_are_no_codes_cost_the_database_nothing(start: StartSharing) -> None:
    """Strangers must not fill the queue in which a revocation waits."""
    bridge = await start(public_requests_per_minute=0, store=UnaskedStore)
    for text in ("", "x", "A" * 21, "A" * 23, "A" * 21 + "!", "Ä" * 22, "../../etc/passwd-------"):
        assert (await bridge.init(text))[0] == 404
    assert bridge.streaming.admission.refused["init_share_not_found"] == 7


async def test_lookups_of_strangers_are_bounded(start: StartSharing) -> None:
    """Beyond ``max_lookups`` at a time 503, so that operators' writes keep their places; open links need none."""
    stores: list[SlowStore] = []

    def slow(database: Database) -> SlowStore:
        stores.append(SlowStore(database))
        return stores[0]

    bridge = await start(public_requests_per_minute=0, store=slow)
    _, code = await bridge.share()
    asked = [asyncio.create_task(bridge.init("A" * 22)) for _ in range(MAX_LOOKUPS + 3)]
    await eventually(lambda: sum(task.done() for task in asked) == 3)
    assert (await bridge.init(code))[0] == 200
    stores[0].free.set()
    answers = [await task for task in asked]
    assert sorted(status for status, _ in answers) == [404] * MAX_LOOKUPS + [503] * 3
