"""Clients that send too much."""

from __future__ import annotations

import asyncio
import json

from bridge.core.limits import COMMANDS_BURST, MAX_RATE_LIMITED
from bridge.stream.session import Session
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.raw import PING, PONG, TEXT, command, frame
from tests.functional.stream.served import Bridge, eventually, position, stream_limits

CLOSE_SECONDS = 0.3


QUICK = {"limits": stream_limits(close_seconds=CLOSE_SECONDS)}
TIMELESS = {"monotonic": lambda: 1000.0, **QUICK}
"""No time passes for rates: a slow machine would allow more."""


async def test_command_flood_is_limited_and_then_closed(start: StartBridge) -> None:
    """The burst is carried out, then each is refused, and after MAX_RATE_LIMITED of those the socket ends: 1013."""
    bridge = await start(**TIMELESS)
    other = await bridge.watch("B")
    client = await bridge.raw()
    await client.upgrade("/api/v1/ws", bridge.token())
    await client.send(frame(TEXT, b"ping") * (COMMANDS_BURST + MAX_RATE_LIMITED + 50))
    events, code = await client.events_to_end()
    kinds = [event["event"] for event in events]
    assert kinds[0] == "hello"
    assert kinds.count("pong") == COMMANDS_BURST
    refusals = [event for event in events if event["event"] == "error"]
    assert {event["data"]["code"] for event in refusals} == {"rate_limited"}
    assert 0 < len(refusals) <= MAX_RATE_LIMITED
    assert code == 1013
    bridge.publish(position("B"))
    await other.expect("message")


async def test_burst_is_carried_out(bridge: Bridge) -> None:
    """A dashboard that restores its panels at once is not refused."""
    client = await bridge.join(bridge.token("*"))
    for number in range(COMMANDS_BURST):
        await client.say("subscribe", number, device_ids=[f"D{number}"])
    for number in range(COMMANDS_BURST):
        answer = await client.next()
        assert answer is not None
        assert (answer["event"], answer["ref"]) == ("subscribed", number)


async def test_ping_flood_is_limited_too(start: StartBridge) -> None:
    """WebSocket pings count like commands: ten thousand are not ten thousand pongs."""
    bridge = await start(**TIMELESS)
    client = await bridge.raw()
    await client.upgrade("/api/v1/ws", bridge.token())
    await client.frame()
    await client.send_until_cut(frame(PING, b"x" * 125) * 500, 0.01)
    await eventually(lambda: not bridge.streaming.streams)
    pongs = 0
    while (taken := await client.frame()) is not None:
        pongs += taken[0] == PONG
    assert pongs <= COMMANDS_BURST


async def test_questions_without_reading_are_bounded(start: StartBridge) -> None:
    """A client that asks and never reads gets no further answers, and is cut after ``write_seconds``."""
    bridge = await start(send_buffer_bytes=4096, limits=stream_limits(write_seconds=0.3, high_water_bytes=8 * 1024))
    devices = [f"device-{number:04d}" for number in range(900)]
    client = await bridge.raw(receive_bytes=2048)
    await client.upgrade("/api/v1/ws", bridge.token("*"))
    asking = asyncio.create_task(client.send_until_cut(command("subscribe", device_ids=devices, snapshot=False), 0.05))
    most = 0
    while bridge.streaming.streams:
        for stream in bridge.streaming.streams:
            assert isinstance(stream, Session)
            most = max(most, stream.socket.unwritten_bytes)
        await asyncio.sleep(0.01)
    await asking
    assert 8 * 1024 < most < 64 * 1024


async def test_subscribe_and_unsubscribe_leave_nothing_behind(bridge: Bridge) -> None:
    """However often a selection changes, the index holds what is selected now."""
    client = await bridge.join(bridge.token("*"))
    for number in range(COMMANDS_BURST // 2 - 1):
        ids = [f"D{number}-{each}" for each in range(100)]
        await client.ask("subscribe", number, device_ids=ids)
        bridge.publish(*map(position, ids[:3]))
        await client.until("message")
        answer = await client.ask_past_messages("unsubscribe", device_ids=ids)
        assert len(answer["data"]["device_ids"]) == 100
    statistics = bridge.streaming.broker.statistics()
    assert (statistics.subscriptions, statistics.devices, statistics.cohorts) == (0, 0, 0)


async def test_refusals_never_echo_what_was_sent(bridge: Bridge) -> None:
    """An error is short, whatever it is about: it must not amplify or reflect."""
    client = await bridge.join()
    evil = "<script>" * 100
    for text in (
        json.dumps({"action": evil}),
        json.dumps({"action": "ping", evil: 1}),
        json.dumps({"action": "subscribe", "data": {"device_ids": [evil]}}),
        evil,
    ):
        await client.socket.send_str(text)
        error = await client.expect("error")
        assert len(json.dumps(error)) < 300
        assert evil not in error["message"]
