"""Viewers that cannot keep up: bounded, counted, told, and no trouble for the others."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from bridge.stream.limits import StreamLimits
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import SMALL_BUFFER_BYTES, STREAM, SharingBridge, seed, sessions, stalled
from tests.functional.stream.raw import TEXT, RawClient

NAMES: Final = [f"truck-{number}" for number in range(10)]
ROUNDS: Final = 400
GOOD_VIEWERS: Final = 100


async def bury(bridge: SharingBridge) -> None:
    """ROUNDS positions of each of NAMES, and a last one that differs."""
    for number in range(1, ROUNDS + 1):
        bridge.publish(*(seed(name, lat=1.0, lon=number / 1000) for name in NAMES))
        await asyncio.sleep(0)


async def read_to_last(client: RawClient) -> list[dict[str, Any]]:
    """Read until the last position of every device has come."""
    events: list[dict[str, Any]] = []
    missing = {f"Van {number}" for number in range(1, len(NAMES) + 1)}
    while missing:
        taken = await client.frame()
        assert taken is not None, client.ended
        assert taken[0] == TEXT
        event = json.loads(taken[1])
        events.append(event)
        if event["event"] == "message" and event["data"]["lon"] == ROUNDS / 1000:
            missing.discard(event["alias"])
    return events


async def test_stalled_viewer_comes_back_to_the_present(start: StartSharing) -> None:
    """What waits is one position per device, the newest; the gap names the loss by alias, and it adds up."""
    bridge = await start(send_buffer_bytes=SMALL_BUFFER_BYTES)
    _, code = await bridge.share(*NAMES)
    client = await stalled(bridge, await bridge.token_of(code))
    await bury(bridge)
    (stream,) = sessions(bridge)
    subscription = stream.subscription
    assert subscription.waiting[0] == len(NAMES)
    assert stream.socket.unwritten_bytes <= 64 * 1024
    events = await read_to_last(client)
    messages = [event for event in events if event["event"] == "message"]
    gaps = [event["data"] for event in events if event["event"] == "gap"]
    assert subscription.dropped == 0
    assert len(messages) + subscription.conflated == ROUNDS * len(NAMES)
    assert sum(gap["count"] for gap in gaps) == sum(gap["conflated"] for gap in gaps) == subscription.conflated > 0
    assert set().union(*(gap["devices"] for gap in gaps)) == {event["alias"] for event in messages}
    assert all(sum(gap["devices"].values()) == gap["count"] for gap in gaps)
    assert "truck" not in json.dumps(events)
    for alias in {event["alias"] for event in messages}:
        lons = [event["data"]["lon"] for event in messages if event["alias"] == alias]
        assert lons == sorted(set(lons))


async def test_queue_of_a_viewer_is_bounded(start: StartSharing) -> None:
    """Under a small bound with another policy than conflation: dropped, counted, told, never more than the bound."""
    bridge = await start(queue_messages=50, overflow="drop-oldest", send_buffer_bytes=SMALL_BUFFER_BYTES)
    _, code = await bridge.share(*NAMES)
    client = await stalled(bridge, await bridge.token_of(code))
    await bury(bridge)
    (stream,) = sessions(bridge)
    subscription = stream.subscription
    assert subscription.waiting[0] <= 50
    assert subscription.dropped > 0
    events = await read_to_last(client)
    gaps = [event["data"] for event in events if event["event"] == "gap"]
    assert sum(gap["dropped"] for gap in gaps) == subscription.dropped


async def test_losses_before_the_channel_are_told_by_alias(bridge: SharingBridge) -> None:
    """What the server itself lost: of the share's devices only, by the names that they have now."""
    viewer, _ = await bridge.viewer("truck-1", "truck-2")
    bridge.streaming.intake.lost({"truck-2": 7, "truck-9": 5}, 0)
    gap = await viewer.expect("gap")
    assert (gap["count"], gap["devices"]) == (7, {"Van 2": 7})
    assert "truck" not in str(viewer.texts)


async def test_stalled_viewer_costs_the_others_nothing(start: StartSharing) -> None:
    """Of a hundred viewers of one share one reads nothing: the others get every position in its turn, and no gap."""
    bridge = await start(
        public_requests_per_minute=0,
        max_connections_per_ip=0,
        handshakes_per_second=0,
        # A slow machine takes so long that the stalled one would be cut, and the others would be pinged.
        stream=StreamLimits(write_seconds=600.0),
        heartbeat_seconds=300,
        send_buffer_bytes=SMALL_BUFFER_BYTES,
    )
    _, code = await bridge.share(*NAMES)
    token = await bridge.token_of(code)
    await stalled(bridge, token)
    await bury(bridge)
    assert bridge.streaming.broker.statistics().behind == 1
    good = [await bridge.raw() for _ in range(GOOD_VIEWERS)]
    for client in good:
        await client.upgrade(STREAM, token)
        for _ in ("hello", *NAMES):
            assert await client.frame() is not None
    loop = asyncio.get_running_loop()
    delays = []
    for number in range(ROUNDS + 1, ROUNDS + 31):
        published = loop.time()
        bridge.publish(*(seed(name, lat=1.0, lon=number / 1000) for name in NAMES))
        for client in good:
            for place in range(1, len(NAMES) + 1):
                taken = await client.frame()
                assert taken is not None
                event = json.loads(taken[1])
                assert (event["alias"], event["data"]["lon"]) == (f"Van {place}", number / 1000)
        delays.append(loop.time() - published)
    assert bridge.streaming.broker.statistics().behind == 1
    # Not the worst one: a busy machine may take the processor away from the whole test for a while.
    assert sorted(delays)[len(delays) // 2] < 3
