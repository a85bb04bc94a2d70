"""Peers that say nothing: dead ones are cut, quiet ones are not."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bridge.app import Limits
from bridge.server.limits import ServerLimits
from bridge.stream.session import Session
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.raw import CLOSE, PING, PONG, TEXT, frame
from tests.functional.stream.served import Bridge, eventually, open_sockets, stream_limits

KEEP_ALIVE = b'{"event":"ping","data":{"type":"keep-alive"}}'


@pytest.fixture
async def lively(start: StartBridge) -> Bridge:
    """A server with a heartbeat of one second, that waits nearly as long, 18 turns of its timer, for the answer."""
    return await start(heartbeat_seconds=1, limits=stream_limits(pulse_tick_seconds=0.05, pong_seconds=0.9))


async def test_client_without_a_pulse_is_cut(lively: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """It reads all, and answers no ping: gone after one heartbeat and the time for an answer."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    client = await lively.raw()
    await client.upgrade("/api/v1/ws", lively.token())
    taken = []
    while (each := await client.frame()) is not None:
        taken.append(each)
    assert loop.time() - started > 1.3
    assert taken[1:] == [(TEXT, KEEP_ALIVE), (PING, b"")]
    await eventually(lambda: not lively.streaming.streams)
    assert "connection lost (1006)" in caplog.text


@pytest.mark.parametrize("answer", [frame(PONG), frame(TEXT, b"ping"), frame(PING, b"x")], ids=["pong", "text", "ping"])
async def test_any_sign_of_life_will_do(lively: Bridge, answer: bytes) -> None:
    """A pong, a command or the client's own ping: who says something lives."""
    client = await lively.raw()
    await client.upgrade("/api/v1/ws", lively.token())
    pings = 0
    while pings < 2:
        taken = await client.frame()
        assert taken is not None
        if taken[0] == PING:
            pings += 1
            await client.send(answer)
    await client.send(frame(CLOSE))


async def test_library_answers_by_itself(lively: Bridge) -> None:
    """A well-behaved client does nothing for it and stays."""
    client = await lively.join()
    waiting = asyncio.create_task(client.next())
    await asyncio.sleep(2.2)  # a heartbeat and more than an answer's time
    assert not waiting.done()
    await client.say("ping")
    assert (await waiting or {})["event"] == "pong"


async def test_stalled_client_gets_no_pings_on_top(lively: Bridge) -> None:
    """Whoever does not read would only collect them; the limit for writing decides."""
    client = await lively.stalled()
    stream = next(iter(lively.streaming.streams))
    assert isinstance(stream, Session)
    while stream.takes_data:
        stream.send(bytes(4096))
    before = stream.socket.unwritten_bytes
    stream.ping()
    assert stream.socket.unwritten_bytes == before
    await client.leave()


# --- connections that never ask for anything ------------------------------------------------------------


@pytest.fixture
async def impatient(start: StartBridge) -> Bridge:
    """A server that waits 0.3 s for a request head."""
    return await start(limits=Limits(server=ServerLimits(request_head_seconds=0.3)))


async def test_silent_connections_are_aborted(impatient: Bridge) -> None:
    """No byte, half a head, a byte now and then: all the same; their files are gone."""
    before = open_sockets()
    silent = [await impatient.raw() for _ in range(30)]
    for client in silent[10:20]:
        with contextlib.suppress(ConnectionError):  # the machine was slow, and the time is up already
            await client.send(b"GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n")

    async def drip() -> None:
        for byte in b"GET /healthz HTTP/1.1\r\nX-Filling: " + b"x" * 1000:
            for client in silent[20:]:
                await client.send(bytes([byte]))
            await asyncio.sleep(0.02)

    with pytest.raises(ConnectionError):
        await drip()
    for client in silent:
        await client.all_bytes()
    await eventually(lambda: open_sockets() <= before + len(silent))


async def test_stream_is_not_silent(start: StartBridge) -> None:
    """The time for a request ends with the first one: also for a socket that says nothing more."""
    bridge = await start(limits=Limits(server=ServerLimits(request_head_seconds=2.0)))
    client = await bridge.join()
    await asyncio.sleep(2.2)  # longer than the time
    assert await client.quiet() == []


@pytest.mark.parametrize("path", ["/healthz", "/nothing/there"])
async def test_answered_connection_is_not_silent(start: StartBridge, path: str) -> None:
    """Whatever it asked for: it may ask again, for as long as a connection is kept."""
    bridge = await start(limits=Limits(server=ServerLimits(request_head_seconds=2.0)))
    client = await bridge.raw()
    first = (await client.request("HEAD", path, Upgrade=None, Connection=None))[0]
    await asyncio.sleep(2.2)
    assert (await client.request("HEAD", path, Upgrade=None, Connection=None))[0] == first


async def test_oldest_silent_connection_makes_room(start: StartBridge) -> None:
    """There is a bound to them even within the time."""
    bridge = await start(limits=Limits(server=ServerLimits(request_head_seconds=60, silent_connections=5)))
    silent = [await bridge.raw() for _ in range(8)]
    for client in silent[:3]:
        await client.all_bytes()
    with pytest.raises(TimeoutError):
        await silent[3].receive(0.1)
