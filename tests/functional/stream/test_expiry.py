"""The end of a token: on time, for everyone, and nothing after it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from datetime import datetime

import pytest

from bridge.stream.session import Session
from tests.functional.stream.clients import Client
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.raw import CLOSE, TEXT
from tests.functional.stream.served import Bridge, Clock, Lateness, eventually, open_sockets, position, stream_limits

TOLERANCE_SECONDS = 0.25
EARLY_SECONDS = 0.005
"""``exp`` stands in the token to the millisecond, and clocks are read at different moments."""
HOUR = 3600.0
"""A token that does not run out while its client connects."""


def expiry(client: Client) -> float:
    """When the client's token ends, by the server's clock: as ``hello`` has told."""
    return datetime.fromisoformat(client.seen[0]["data"]["expires_at"]).timestamp()


def lateness(bridge: Bridge, expires_at: float) -> Lateness:
    """The loop's own lateness from that moment of the server's clock on."""
    return Lateness(time.monotonic() + expires_at - bridge.clock())


def leave(bridge: Bridge, seconds: float, expires_at: float) -> None:
    """Set the clock so that so many seconds are left."""
    bridge.clock.advance(expires_at - seconds - bridge.clock())


async def flood(bridge: Bridge, device_id: str, pad: int = 500) -> None:
    """Publish for ever, in bursts."""
    for number in itertools.count():
        bridge.publish(*(position(device_id, number, pad=pad) for _ in range(20)))
        await asyncio.sleep(0.002)


@pytest.mark.no_cover  # counting statements would take the time that is measured
async def test_expired_comes_on_time_and_nothing_after_it(bridge: Bridge) -> None:
    """A token's last two seconds under a flood: ``expiring``, then ``expired`` and 1000 within 250 ms of ``exp``.

    One of five tries must keep the time: the client shares this loop, and under a flood it is behind on a busy machine.
    """
    for last in (False, False, False, False, True):
        late, allowed = await end_under_a_flood(bridge)
        assert late > -EARLY_SECONDS
        if late < allowed:
            return
        assert not last, (late, allowed)


async def end_under_a_flood(bridge: Bridge) -> tuple[float, float]:
    """How late the end of a flooded stream was, and how late it may have been; everything else is held to each time."""
    client = await bridge.watch("A", bridge.token("A", ttl=HOUR))
    expires_at = expiry(client)
    flooding = asyncio.create_task(flood(bridge, "A"))
    try:
        leave(bridge, 2.0, expires_at)
        assert await client.until("expiring")
        async with lateness(bridge, expires_at) as loop:
            code, events = await client.end()
            late, excused = bridge.clock() - expires_at, loop.seconds
    finally:
        flooding.cancel()
    assert code == 1000
    assert client.reason == "token expired"
    assert events[-1]["event"] == "expired"
    assert events[-1]["data"]["expires_at"] == client.seen[0]["data"]["expires_at"]
    assert {event["event"] for event in events[:-1]} <= {"message", "gap"}
    await eventually(lambda: not bridge.streaming.streams)
    return late, TOLERANCE_SECONDS + excused


async def test_idle_sockets_expire_on_time_too(bridge: Bridge) -> None:
    """Without any traffic the timer alone ends them, in the order of their tokens."""
    clients = [await bridge.join(bridge.token(ttl=HOUR + more)) for more in (0.9, 0.0, 0.6, 0.3)]
    ends: list[tuple[float, float, int | None]] = []

    async def one(client: Client) -> None:
        expires_at = expiry(client)
        async with lateness(bridge, expires_at) as loop:
            code, _ = await client.end()
            ends.append((bridge.clock() - expires_at, loop.seconds, code))

    leave(bridge, 1.2, expiry(clients[1]))  # the timer looks once a second
    await asyncio.gather(*map(one, clients))
    assert [code for _, _, code in ends] == [1000] * 4
    assert all(-EARLY_SECONDS < late < TOLERANCE_SECONDS + excused for late, excused, _ in ends), ends


async def test_stalled_socket_is_cut_on_time_and_gets_nothing_more(bridge: Bridge) -> None:
    """A client that reads nothing while data floods: its file is gone within 250 ms, what waited with it."""
    gc.collect()  # no socket that an earlier test has left is closed meanwhile
    before = open_sockets()
    client = await bridge.stalled("A", bridge.token("A", ttl=HOUR))
    (stream,) = bridge.streaming.streams
    assert isinstance(stream, Session)
    principal = stream.credential.principal
    assert principal is not None
    assert principal.expires_at is not None
    expires_at = principal.expires_at
    flooding = asyncio.create_task(flood(bridge, "A", pad=4000))
    try:
        await eventually(lambda: bridge.streaming.broker.statistics().behind == 1)
        assert open_sockets() == before + 2
        leave(bridge, 1.2, expires_at)
        async with lateness(bridge, expires_at) as loop:
            await eventually(lambda: open_sockets() == before + 1)
            late, excused = bridge.clock() - expires_at, loop.seconds
        published = bridge.streaming.broker.statistics().published
    finally:
        flooding.cancel()
    assert -EARLY_SECONDS < late < TOLERANCE_SECONDS + excused
    received = await client.all_bytes()
    assert client.ended == "reset"
    # All that the client can still find is what its own kernel had taken before: two kilobytes of buffer.
    assert len(received) < 32 * 1024, (len(received), published)
    assert b"expired" not in received


async def test_client_that_never_says_goodbye_is_cut(start: StartBridge) -> None:
    """It reads ``expired`` and 1000 and just stays: the connection is gone ``close_seconds`` later."""
    bridge = await start(limits=stream_limits(close_seconds=0.4))
    client = await bridge.raw()
    await client.upgrade("/api/v1/ws", bridge.token(ttl=HOUR))
    assert await client.frame()
    bridge.clock.advance(HOUR + 1)
    frames = []
    started = time.monotonic()
    while (taken := await client.frame()) is not None:
        frames.append(taken)
    assert [opcode for opcode, _ in frames] == [TEXT, CLOSE]
    assert b'"expired"' in frames[0][1]
    assert frames[1][1][:2] == (1000).to_bytes(2, "big")
    assert time.monotonic() - started >= 0.39


async def test_clock_that_is_set_forward_ends_tokens(bridge: Bridge) -> None:
    """A machine that slept notices within a second, before anything else is delivered."""
    client = await bridge.watch("A", bridge.token("A", ttl=HOUR))
    bridge.clock.advance(HOUR - 25)
    bridge.publish(position("A", 1))
    bridge.clock.advance(30)
    bridge.publish(position("A", 2))
    code, events = await client.end()
    assert code == 1000
    assert [event["event"] for event in events] == ["expiring", "message", "expired"]


async def test_clock_that_is_set_forward_is_noticed_without_traffic(bridge: Bridge) -> None:
    """The timer looks at the wall clock once a second."""
    client = await bridge.join(bridge.token(ttl=HOUR))
    bridge.clock.advance(HOUR + 1)
    started = time.monotonic()
    async with Lateness(started) as loop:
        code, events = await client.end()
        assert time.monotonic() - started < 1.5 + loop.seconds
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])


async def test_clock_that_is_set_back_keeps_the_stream(bridge: Bridge) -> None:
    """The token lives by the wall clock, whatever it shows."""
    bridge.clock.stop()
    client = await bridge.watch("A", bridge.token("A", ttl=0.3))
    bridge.clock.advance(-100)
    await client.until("expiring")
    await asyncio.sleep(0.5)  # the moment at which it would have ended
    bridge.publish(position("A", 1))
    await client.expect("message")
    bridge.clock.advance(101)
    assert (await client.end())[0] == 1000


@pytest.mark.parametrize("ahead,first", [(-0.05, "hello"), (0.05, "error")])
async def test_expiry_at_the_door(bridge: Bridge, ahead: float, first: str) -> None:
    """A token in its last moment gets in and is expired a moment later, when it would be refused with 1008."""
    bridge.clock.stop()
    token = bridge.token("A", ttl=10)
    bridge.clock.advance(10 + ahead)
    client = await bridge.connect("/api/v1/stream?device_ids=A", token)
    event = await client.next()
    assert event is not None
    assert event["event"] == first
    bridge.clock.advance(0.1)
    code, _ = await client.end()
    assert (code, client.seen[-1]["event"]) == ((1000, "expired") if first == "hello" else (1008, "error"))


def test_clock_of_these_tests_moves() -> None:
    """It goes on by itself, can be set, and can be stopped."""
    clock = Clock()
    clock.advance(100)
    assert time.time() + 100 <= clock() <= time.time() + 100
    clock.stop()
    stopped = clock()
    clock.advance(1)
    assert clock() == stopped + 1


async def test_command_after_the_end_is_not_carried_out(bridge: Bridge) -> None:
    """The machine slept past ``exp``: a command that is handled before any timer shows nothing, not even a snapshot."""
    bridge.publish(position("A", 1))
    client = await bridge.join(bridge.token("A", ttl=3600))
    bridge.clock.advance(3601)
    await client.say("subscribe", device_ids=["A"])
    code, events = await client.end()
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])
