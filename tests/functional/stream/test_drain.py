"""The end of the server: everyone hears of it, nobody can hold it up."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from bridge.app import running
from bridge.settings import load_settings
from tests.functional.stream.clients import Client
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.raw import CLOSE, RawClient
from tests.functional.stream.served import KEY, Bridge, eventually, happening, open_sockets, stream_limits

STUCK_SECONDS = 60.0
"""For draining, or for a goodbye: who sits it out is seen by it."""
STUCK = stream_limits(close_seconds=STUCK_SECONDS)
QUICK_SECONDS = 20.0
"""Far above what going takes on a busy machine, far below STUCK_SECONDS and WRITE_SECONDS."""


async def test_everyone_is_told_1001_at_once(bridge: Bridge) -> None:
    """Readers of both endpoints get 1001 together, and draining ends when they have gone: no fixed wait."""
    clients = [await bridge.watch() for _ in range(10)] + [await bridge.join() for _ in range(10)]
    loop = asyncio.get_running_loop()
    started = loop.time()
    draining = asyncio.create_task(bridge.drain(STUCK_SECONDS))
    ends = await asyncio.gather(*(client.end() for client in clients))
    assert [code for code, _ in ends] == [1001] * 20
    await draining
    assert loop.time() - started < QUICK_SECONDS


async def test_nobody_new_while_draining(bridge: Bridge) -> None:
    """The readiness says so at once, and a connection that is already open gets 503 for one more stream."""
    client = await bridge.raw()
    async with aiohttp.ClientSession() as http:
        async with http.get(bridge.url("/readyz")) as answer:
            assert answer.status == 200
        await bridge.drain(0.5)
        async with http.get(bridge.url("/readyz")) as answer:  # on the connection that is kept alive
            assert (answer.status, (await answer.json())["problems"]) == (503, ["draining"])
    status, head = await client.request("GET", "/api/v1/ws")
    assert status == 503
    assert "Retry-After" in head
    with pytest.raises(aiohttp.ClientConnectorError):
        await bridge.join()


@pytest.fixture
async def stalled(start: StartBridge) -> tuple[Bridge, list[RawClient]]:
    """A server with two hundred clients that do not read."""
    bridge = await start(max_connections_per_principal=0, max_connections_per_ip=0, limits=STUCK)
    clients = [await bridge.stalled() for _ in range(200)]
    for number in range(60):
        bridge.publish(*(happening("A", number, pad=2000) for _ in range(4)))
        await asyncio.sleep(0.001)
    await eventually(lambda: bridge.streaming.broker.statistics().behind == len(clients))
    return bridge, clients


async def test_two_hundred_stalled_clients_do_not_hold_it_up(stalled: tuple[Bridge, list[RawClient]]) -> None:
    """They are cut within the time for draining, and their files are gone."""
    bridge, clients = stalled
    loop = asyncio.get_running_loop()
    before, started = open_sockets(), loop.time()
    await bridge.drain(2)
    assert loop.time() - started < QUICK_SECONDS
    await eventually(lambda: not bridge.remains(), bridge.remains)
    await eventually(lambda: open_sockets() <= before - len(clients), open_sockets)


async def test_readers_among_stalled_clients_are_told_1001(stalled: tuple[Bridge, list[RawClient]]) -> None:
    """At once, while the others are still waited for."""
    bridge, clients = stalled
    good = [await bridge.watch() for _ in range(20)]
    draining = asyncio.create_task(bridge.drain(STUCK_SECONDS))
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert [code for code, _ in await asyncio.gather(*(client.end() for client in good))] == [1001] * 20
    assert loop.time() - started < QUICK_SECONDS
    for client in clients:
        await client.leave()
    await draining


async def test_short_drain_still_says_goodbye(start: StartBridge) -> None:
    """Half a second is little, but 1001 is the first thing that happens in it."""
    bridge = await start(limits=STUCK)
    client = await bridge.join()
    raw = await bridge.raw()
    await raw.upgrade("/api/v1/ws", bridge.token())
    loop = asyncio.get_running_loop()
    started = loop.time()
    draining = asyncio.create_task(bridge.drain(0.5))
    assert (await client.end())[0] == 1001
    await draining
    assert loop.time() - started < QUICK_SECONDS
    while (taken := await raw.frame()) is not None and taken[0] != CLOSE:
        pass
    assert taken is not None
    assert taken[1][:2] == (1001).to_bytes(2, "big")


async def test_streams_that_are_closing_already_do_not_hold_it_up(start: StartBridge) -> None:
    """One was refused, one has sent a broken frame, one just stands there: all gone in time."""
    bridge = await start(limits=stream_limits(close_seconds=0.5))
    clients = [await bridge.raw() for _ in range(3)]
    await clients[0].upgrade("/api/v1/stream?device_ids=", bridge.token())
    for client in clients[1:]:
        await client.upgrade("/api/v1/ws", bridge.token())
    await clients[1].send(b"\xff\xff")
    loop = asyncio.get_running_loop()
    started = loop.time()
    await bridge.drain(STUCK_SECONDS)
    assert loop.time() - started < QUICK_SECONDS


async def test_whole_server_stops_in_time() -> None:
    """The real composition, without an MQTT broker: leaving ``running`` tells 1001 and does not wait."""
    loop = asyncio.get_running_loop()
    settings = load_settings(
        port=0, access_keys=KEY, mqtt_url="mqtt://127.0.0.1:1", drain_seconds=STUCK_SECONDS, auth="required"
    )
    async with running(settings) as server:
        client = Client(f"http://127.0.0.1:{server.port}/api/v1/ws")
        await client.open(None)
        assert (await client.expect("hello"))["principal"] is None
        assert await client.expect("upstream") == {"state": "down"}
        reading = asyncio.create_task(client.end(STUCK_SECONDS))
        started = loop.time()
    assert (await reading)[0] == 1001
    assert loop.time() - started < QUICK_SECONDS
    await client.leave()
