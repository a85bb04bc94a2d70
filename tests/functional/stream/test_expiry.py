"""The end of a token: on time, for everyone, and nothing after it."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from bridge import session
from tests.functional.stream.raw import CLOSE, TEXT
from tests.functional.stream.served import Bridge, Clock, eventually, open_sockets, position

TOLERANCE_SECONDS = 0.25
EARLY_SECONDS = 0.005
"""``exp`` stands in the token to the millisecond, and clocks are read at different moments."""


async def flood(bridge: Bridge, device_id: str, pad: int = 500) -> None:
    """Publish for ever, in bursts."""
    for number in itertools.count():
        bridge.publish(*(position(device_id, number, pad=pad) for _ in range(20)))
        await asyncio.sleep(0.002)


async def test_expired_comes_on_time_and_nothing_after_it(bridge: Bridge) -> None:
    """A two-second token under a flood: ``expiring``, then ``expired`` and 1000 within 250 ms of ``exp``."""
    token = bridge.token("A", ttl=2)
    expires_at = time.time() + 2
    client = await bridge.watch("A", token)
    flooding = asyncio.create_task(flood(bridge, "A"))
    try:
        assert await client.until("expiring")
        code, events = await client.end()
        late = time.time() - expires_at
    finally:
        flooding.cancel()
    assert code == 1000
    assert client.reason == "token expired"
    assert -EARLY_SECONDS < late < TOLERANCE_SECONDS
    assert events[-1]["event"] == "expired"
    assert events[-1]["data"]["expires_at"] == client.seen[0]["data"]["expires_at"]
    assert {event["event"] for event in events[:-1]} <= {"message", "gap"}
    await eventually(lambda: not bridge.hub.streams)


async def test_idle_sockets_expire_on_time_too(bridge: Bridge) -> None:
    """Without any traffic the timer alone ends them, in the order of their tokens."""
    ends: list[tuple[float, int | None]] = []

    async def one(ttl: float) -> None:
        expires_at = time.time() + ttl
        client = await bridge.join(bridge.token(ttl=ttl))
        code, _ = await client.end()
        ends.append((time.time() - expires_at, code))

    await asyncio.gather(*(one(ttl) for ttl in (1.2, 0.3, 0.9, 0.6)))
    assert [code for _, code in ends] == [1000] * 4
    assert all(-EARLY_SECONDS < late < TOLERANCE_SECONDS for late, _ in ends), ends


async def test_stalled_socket_is_cut_on_time_and_gets_nothing_more(bridge: Bridge) -> None:
    """A client that reads nothing while data floods: its file is gone within 250 ms, what waited with it."""
    ttl = 1.0
    token = bridge.token("A", ttl=ttl)
    expires_at = time.time() + ttl
    before = open_sockets()
    client = await bridge.stalled("A", token)
    flooding = asyncio.create_task(flood(bridge, "A", pad=4000))
    try:
        await eventually(lambda: bridge.hub.broker.statistics().behind == 1)
        assert open_sockets() == before + 2
        await eventually(lambda: open_sockets() == before + 1)
        late = time.time() - expires_at
        published = bridge.hub.broker.statistics().published
    finally:
        flooding.cancel()
    assert -EARLY_SECONDS < late < TOLERANCE_SECONDS
    received = await client.all_bytes()
    assert client.ended == "reset"
    # All that the client can still find is what its own kernel had taken before: two kilobytes of buffer.
    assert len(received) < 32 * 1024, (len(received), published)
    assert b"expired" not in received


async def test_client_that_never_says_goodbye_is_cut(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads ``expired`` and 1000 and just stays: the connection is gone CLOSE_SECONDS later."""
    monkeypatch.setattr(session, "CLOSE_SECONDS", 0.4)
    client = await bridge.raw()
    await client.upgrade("/api/v1/ws", bridge.token(ttl=0.3))
    opcodes = []
    started = time.monotonic()
    while (taken := await client.frame()) is not None:
        opcodes.append(taken)
    assert [opcode for opcode, _ in opcodes] == [TEXT, TEXT, TEXT, CLOSE]
    assert opcodes[-1][1][:2] == (1000).to_bytes(2, "big")
    assert b'"expired"' in opcodes[-2][1]
    assert 0.6 < time.monotonic() - started < 1.5


async def test_clock_that_is_set_forward_ends_tokens(bridge: Bridge) -> None:
    """A machine that slept notices within a second, before anything else is delivered."""
    client = await bridge.watch("A", bridge.token("A", ttl=3600))
    bridge.clock.advance(3599)
    bridge.publish(position("A", 1))
    bridge.clock.advance(2)
    bridge.publish(position("A", 2))
    code, events = await client.end()
    assert code == 1000
    assert [event["event"] for event in events] == ["expiring", "message", "expired"]


async def test_clock_that_is_set_forward_is_noticed_without_traffic(bridge: Bridge) -> None:
    """The timer looks at the wall clock once a second."""
    client = await bridge.join(bridge.token(ttl=3600))
    bridge.clock.advance(3601)
    started = time.monotonic()
    code, events = await client.end()
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])
    assert time.monotonic() - started < 1.5


async def test_clock_that_is_set_back_keeps_the_stream(bridge: Bridge) -> None:
    """The token lives by the wall clock, whatever it shows."""
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
    """A token in its last moment gets in and is expired at once; a moment later it is refused with 1008."""
    token = bridge.token("A", ttl=10)
    bridge.clock.advance(10 + ahead)
    client = await bridge.connect("/api/v1/stream?device_ids=A", token)
    code, events = await client.end()
    assert events[0]["event"] == first
    assert (code, events[-1]["event"]) == ((1000, "expired") if first == "hello" else (1008, "error"))


def test_clock_of_these_tests_moves() -> None:
    """It goes on by itself and can be set."""
    clock = Clock()
    clock.advance(100)
    assert 99 < clock() - time.time() < 101


async def test_command_after_the_end_is_not_carried_out(bridge: Bridge) -> None:
    """The machine slept past ``exp``: a command that is handled before any timer shows nothing, not even a snapshot."""
    bridge.publish(position("A", 1))
    client = await bridge.join(bridge.token("A", ttl=3600))
    bridge.clock.advance(3601)
    await client.say("subscribe", device_ids=["A"])
    code, events = await client.end()
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])
