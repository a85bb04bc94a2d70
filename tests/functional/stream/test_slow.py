"""Clients that cannot keep up: bounded, counted, told, and no trouble for the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bridge.core.telemetry import Telemetry
from bridge.stream.session import Session
from tests.functional.stream.clients import devices, numbers
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.raw import CLOSE, PING, PONG, TEXT, RawClient, command, frame
from tests.functional.stream.served import (
    PATIENCE_SECONDS,
    Bridge,
    eventually,
    happening,
    open_sockets,
    position,
    stream_limits,
)

CLOSE_SECONDS = 0.3
BURST = 40
MOST_PUBLISHED = 20_000
"""Far more than a queue and the buffers of a connection take."""
PAD = 2000
POLICIES = ["latest", "drop-oldest", "drop-newest"]


@pytest.fixture
async def bridge(start: StartBridge) -> Bridge:
    """A server that does not wait long for a client's goodbye."""
    return await start(limits=stream_limits(close_seconds=CLOSE_SECONDS))


def session_of(bridge: Bridge, device_id: str) -> Session:
    """The one stream that looks at this device."""
    found = [
        stream
        for stream in bridge.streaming.streams
        if isinstance(stream, Session) and device_id in (stream.role.info()["device_ids"] or ())  # type: ignore[operator]
    ]
    assert len(found) == 1
    return found[0]


async def bury(bridge: Bridge, device_id: str, count: int, kinds: str = "both") -> None:
    """Publish ``count`` messages, some per turn, numbered from 1."""
    for start in range(1, count + 1, BURST):
        batch = [
            (position if kinds == "positions" or (kinds == "both" and number % 2) else happening)(
                device_id, number, pad=PAD
            )
            for number in range(start, min(start + BURST, count + 1))
        ]
        bridge.publish(*batch)
        await asyncio.sleep(0)


async def read_up(client: RawClient, last: int) -> list[dict[str, Any]]:
    """Read again, until the message numbered ``last`` and whatever follows it at once."""
    events: list[dict[str, Any]] = []
    while not any(event["event"] == "message" and event["data"]["n"] == last for event in events):
        taken = await client.frame()
        assert taken is not None, client.ended
        if taken[0] == TEXT:
            events.append(json.loads(taken[1]))
        else:
            assert taken[0] == PING
    return events


@pytest.mark.parametrize("policy", POLICIES)
async def test_every_message_is_accounted_for(bridge: Bridge, policy: str) -> None:
    """Sent, dropped and conflated are all that was published for it, and the ``gap`` events add up to the loss."""
    count = 3000
    client = await bridge.stalled("A", extra=f"&overflow={policy}")
    await bury(bridge, "A", count)
    stream = session_of(bridge, "A")
    assert stream.subscription.waiting[0] <= 100
    assert stream.subscription.waiting[1] <= 256 * 1024
    assert stream.socket.unwritten_bytes <= 64 * 1024
    reading = asyncio.create_task(read_up(client, count + 1))
    await eventually(lambda: stream.subscription.ready)
    bridge.publish(position("A", count + 1))
    events = await reading
    got = numbers(events)
    gaps = [event["data"] for event in events if event["event"] == "gap"]
    counts = stream.subscription
    assert got == sorted(set(got))
    assert counts.sent == len(got)
    assert counts.sent + counts.dropped + counts.conflated == count + 1
    assert sum(gap["count"] for gap in gaps) == counts.dropped + counts.conflated > 0
    assert sum(gap["dropped"] for gap in gaps) == counts.dropped
    assert all(gap["count"] == gap["dropped"] + gap["conflated"] == gap["devices"]["A"] for gap in gaps)
    assert counts.conflated == 0 or policy == "latest"
    assert (count in got) == (policy != "drop-newest")


async def test_latest_keeps_the_newest_position_of_every_device(bridge: Bridge) -> None:
    """Under conflation a stalled dashboard comes back to the present: one position per device, the last one."""
    names = [f"D{number}" for number in range(20)]
    client = await bridge.stalled(",".join(names))
    rounds = 400
    for number in range(1, rounds + 1):
        bridge.publish(*(position(name, number, pad=500) for name in names))
        await asyncio.sleep(0)
    stream = session_of(bridge, "D0")
    assert stream.subscription.waiting[0] == len(names)
    assert stream.subscription.dropped == 0
    newest: dict[str, int] = {}
    seen: Counter[str] = Counter()
    while min(newest.values(), default=0) < rounds or len(newest) < len(names):
        taken = await client.frame()
        assert taken is not None
        event = json.loads(taken[1])
        if event["event"] == "message":
            newest[event["device_id"]] = event["data"]["n"]
            seen[event["device_id"]] += 1
    assert set(newest.values()) == {rounds}
    assert sum(seen.values()) + stream.subscription.conflated == rounds * len(names)


async def test_drop_newest_keeps_the_beginning(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """What came first stays; the episode is one warning, however many messages it costs."""
    client = await bridge.stalled("A", extra="&overflow=drop-newest")
    await bury(bridge, "A", 1000, "events")
    stream = session_of(bridge, "A")
    kept = 1000 - stream.subscription.dropped
    events = await read_up(client, kept)
    assert numbers(events) == list(range(1, kept + 1))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "queue full for device A, applying drop-newest" in warnings[0]


async def test_disconnect_closes_the_slow_and_nobody_else(start: StartBridge, caplog: pytest.LogCaptureFixture) -> None:
    """Its queue full, it is closed with 1013; what it had been sent before was whole and in order."""
    bridge = await start(
        limits=stream_limits(close_seconds=PATIENCE_SECONDS)
    )  # its last words wait until it reads them
    good = await bridge.watch("A", extra="&overflow=disconnect")
    client = await bridge.stalled("A", extra="&overflow=disconnect")
    published = 0
    while session_count(bridge) == 2:
        assert published < MOST_PUBLISHED, "it is never closed"
        await bury(bridge, "A", BURST, "events")
        published += BURST
        for _ in range(BURST):
            await good.expect("message")
    events = []
    while (taken := await client.frame()) is not None and taken[0] == TEXT:
        events.append(json.loads(taken[1]))
    assert taken is not None
    assert (taken[0], taken[1][:2]) == (CLOSE, (1013).to_bytes(2, "big"))
    got = numbers(events)
    assert got == [number % BURST + 1 for number in range(len(got))]
    await client.leave()
    await eventually(lambda: len(bridge.streaming.streams) == 1)
    ended = re.search(r"slow consumer \(1013\) after .* (\d+) sent, (\d+) dropped, 0 conflated", caplog.text)
    assert ended is not None
    assert int(ended[1]) == len(got)
    assert int(ended[1]) + int(ended[2]) == published


@pytest.mark.parametrize("receive_bytes", [2048, 16 * 1024])  # above 64 KiB loopback hides what is read
@pytest.mark.parametrize("send_buffer_bytes", [4096, None])
async def test_slow_reader_has_the_last_words(
    start: StartBridge, receive_bytes: int, send_buffer_bytes: int | None
) -> None:
    """It reads twenty frames a second, and answers our pings when it comes to them, which is later than we like.

    When its queue is full it reads 1013 before the end: neither the pulse nor the close cuts one that goes on reading.
    """
    lively = stream_limits(pulse_tick_seconds=0.05, pong_seconds=0.9)
    bridge = await start(heartbeat_seconds=1, send_buffer_bytes=send_buffer_bytes, limits=lively)
    client = await bridge.raw(receive_bytes)
    await client.upgrade("/api/v1/stream?device_ids=A&overflow=disconnect", bridge.token())
    await bury(bridge, "A", 25, "events")
    session_of(bridge, "A").ping()  # it is in the middle of what has to be read
    await bury(bridge, "A", 2 * BURST, "events")
    loop = asyncio.get_running_loop()
    published, began, code = 0, loop.time(), None
    while (taken := await client.frame(most=PAD)) is not None:
        if taken[0] == PING:
            await client.send(frame(PONG))
        elif taken[0] == CLOSE:
            code = int.from_bytes(taken[1][:2], "big")
        while session_count(bridge) and published < (loop.time() - began) * 80:
            bridge.publish(happening("A", published, pad=PAD))
            published += 1
        await asyncio.sleep(0.05)
    assert (code, client.ended) == (1013, "eof")


def session_count(bridge: Bridge) -> int:
    """Streams that are still subscribed."""
    return bridge.streaming.broker.statistics().subscriptions


async def test_slow_clients_do_not_delay_the_others(start: StartBridge) -> None:
    """Fifty stalled clients, and one that reads gets every message in its turn."""
    bridge = await start(max_connections_per_principal=0)
    for number in range(50):
        await bridge.stalled("A", extra=f"&overflow={POLICIES[number % 3]}")
    good = await bridge.watch("A")
    delays = []
    loop = asyncio.get_running_loop()
    for number in range(300):
        published = loop.time()
        bridge.publish(happening("A", number, pad=PAD))
        data = await good.expect("message")
        delays.append(loop.time() - published)
        assert data["n"] == number
    assert bridge.streaming.broker.statistics().behind == 50
    # Not the worst ones: a busy machine may take the processor away from the whole test for a while.
    assert statistics.median(delays) < 0.1
    info = (await good.ask("info"))["data"]
    assert (info["dropped"], info["conflated"], info["queue"]["peak_messages"]) == (0, 0, 0)


async def test_reader_of_a_trickle_is_cut(start: StartBridge) -> None:
    """Who takes less than a chunk in ``write_seconds`` is useless, though never quite still: aborted, file and all."""
    bridge = await start(limits=stream_limits(write_seconds=0.4))
    before = open_sockets()
    client = await bridge.stalled("A")
    loop = asyncio.get_running_loop()
    started = loop.time()
    while bridge.streaming.streams:
        await bury(bridge, "A", BURST, "events")
        with contextlib.suppress(ConnectionError):
            await loop.sock_recv(client.sock, 1)
        await asyncio.sleep(0.01)
        assert loop.time() - started < PATIENCE_SECONDS
    await eventually(lambda: open_sockets() <= before + 1)
    await client.all_bytes()
    assert client.ended == "reset"


async def test_one_message_larger_than_the_queue_is_dropped_and_told(start: StartBridge) -> None:
    """It could never wait; those after it arrive."""
    bridge = await start(queue_bytes=4096, max_payload_bytes=1024)
    client = await bridge.stalled("A,B")
    await bury(bridge, "A", 400, "events")
    bridge.publish(happening("B", 1, pad=5000))
    stream = session_of(bridge, "B")
    assert stream.subscription.waiting[1] <= 4096
    bridge.publish(happening("A", 401))
    events = await read_up(client, 401)
    assert sum(event["data"]["devices"].get("B", 0) for event in events if event["event"] == "gap") == 1


async def test_large_payload_reaches_a_reader(bridge: Bridge) -> None:
    """A payload of 200 KB is larger than every buffer on the way, and arrives whole."""
    client = await bridge.watch("A")
    bridge.publish(happening("A", 1, pad=200_000))
    bridge.publish(happening("A", 2))
    events = [await client.until("message"), await client.until("message")]
    assert numbers(events) == [1, 2]
    assert len(events[0]["data"]["pad"]) == 200_000


@pytest.mark.parametrize("make", [position, happening])
@pytest.mark.parametrize("policy", ["latest", "drop-oldest"])
async def test_quiet_devices_get_past_a_chatty_one(bridge: Bridge, policy: str, make: Callable[..., Telemetry]) -> None:
    """Ten that say one thing each beside one that never stops, to a reader that is far behind: all ten arrive."""
    quiet = [f"Q{number}" for number in range(10)]
    client = await bridge.stalled(",".join(["CHATTY", *quiet]), extra=f"&overflow={policy}")
    await bury(bridge, "CHATTY", 400, "events")
    for number, name in enumerate(quiet):
        bridge.publish(make(name, number, pad=PAD))
        await bury(bridge, "CHATTY", 300, "both")
    stream = session_of(bridge, "CHATTY")
    assert stream.subscription.dropped > 1000
    reading = asyncio.create_task(read_up(client, -1))
    await eventually(lambda: stream.subscription.ready)
    bridge.publish(happening("CHATTY", -1))
    events = await reading
    assert [name for name in devices(events) if name != "CHATTY"] == quiet
    assert not {name for event in events if event["event"] == "gap" for name in event["data"]["devices"]} & set(quiet)


async def test_reader_that_stays_behind_is_still_heard(start: StartBridge) -> None:
    """Its queue never empties, and yet its commands are carried out: it can take back what is too much for it."""
    bridge = await start(send_buffer_bytes=4096)
    client = await bridge.stalled("A")

    async def flood() -> None:
        while True:
            bridge.publish(*(happening("A", number, pad=PAD) for number in range(20)))
            await asyncio.sleep(0.001)

    flooding = asyncio.create_task(flood())
    try:
        await eventually(lambda: bridge.streaming.broker.statistics().behind == 1)
        await client.send(command("ping"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (taken := await client.frame()) is not None and b'"pong"' not in taken[1][:40]:
                pass
        assert taken is not None
        assert bridge.streaming.broker.statistics().behind == 1
    finally:
        flooding.cancel()
