"""The end of the server: everyone is told, nobody can hold it up."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from bridge import session
from bridge.app import running
from bridge.settings import load_settings
from tests.functional.stream.clients import Client
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.raw import CLOSE
from tests.functional.stream.served import KEY, Bridge, eventually, happening, open_sockets


async def test_everyone_is_told_1001_at_once(bridge: Bridge) -> None:
    """Readers of both endpoints get 1001 together, and draining ends when they have gone: no fixed wait."""
    clients = [await bridge.watch() for _ in range(10)] + [await bridge.join() for _ in range(10)]
    loop = asyncio.get_running_loop()
    started = loop.time()
    draining = asyncio.create_task(bridge.drain(20))
    ends = await asyncio.gather(*(client.end() for client in clients))
    assert [code for code, _ in ends] == [1001] * 20
    await draining
    assert loop.time() - started < 1


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


async def test_two_hundred_stalled_clients_do_not_hold_it_up(start: StartBridge) -> None:
    """They are cut within the time for draining, their files are gone; the readers among them still get 1001."""
    bridge = await start(max_connections_per_principal=0, max_connections_per_ip=0)
    before = open_sockets()
    stalled = [await bridge.stalled() for _ in range(200)]
    good = [await bridge.watch() for _ in range(20)]
    readers = [asyncio.create_task(client.end(10)) for client in good]
    for number in range(60):
        bridge.publish(*(happening("A", number, pad=2000) for _ in range(4)))
        await asyncio.sleep(0.001)
    await eventually(lambda: bridge.hub.broker.statistics().behind == len(stalled))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await bridge.drain(3)
    took = loop.time() - started
    assert took < 3
    assert [(await reader)[0] for reader in readers] == [1001] * 20
    await eventually(lambda: not bridge.remains(), bridge.remains)
    await eventually(lambda: open_sockets() <= before + len(stalled), open_sockets, 1.0)


async def test_short_drain_still_says_goodbye(bridge: Bridge) -> None:
    """Half a second is little, but 1001 is the first thing that happens in it."""
    client = await bridge.join()
    raw = await bridge.raw()
    await raw.upgrade("/api/v1/ws", bridge.token())
    loop = asyncio.get_running_loop()
    started = loop.time()
    draining = asyncio.create_task(bridge.drain(0.5))
    assert (await client.end())[0] == 1001
    await draining
    assert loop.time() - started < 0.6
    while (taken := await raw.frame()) is not None and taken[0] != CLOSE:
        pass
    assert taken is not None
    assert taken[1][:2] == (1001).to_bytes(2, "big")


async def test_streams_that_are_closing_already_do_not_hold_it_up(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was refused, one has sent a broken frame, one just stands there: all gone in time."""
    monkeypatch.setattr(session, "CLOSE_SECONDS", 0.5)
    clients = [await bridge.raw() for _ in range(3)]
    await clients[0].upgrade("/api/v1/stream?device_ids=", bridge.token())
    for client in clients[1:]:
        await client.upgrade("/api/v1/ws", bridge.token())
    await clients[1].send(b"\xff\xff")
    loop = asyncio.get_running_loop()
    started = loop.time()
    await bridge.drain(5)
    assert loop.time() - started < 1.5


async def test_whole_server_stops_in_time() -> None:
    """The real composition, without an MQTT broker: leaving ``running`` tells 1001 and takes no longer than it may."""
    loop = asyncio.get_running_loop()
    settings = load_settings(port=0, access_keys=KEY, mqtt_url="mqtt://127.0.0.1:1", drain_seconds=5, auth="required")
    async with running(settings) as server:
        client = Client(f"http://127.0.0.1:{server.port}/api/v1/ws")
        await client.open(None)
        assert (await client.expect("hello"))["principal"] is None
        assert await client.expect("upstream") == {"state": "down"}
        reading = asyncio.create_task(client.end(10))
        started = loop.time()
    assert (await reading)[0] == 1001
    assert loop.time() - started < 5
    await client.leave()
