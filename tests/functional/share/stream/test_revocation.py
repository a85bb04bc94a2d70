"""A share that is revoked: every stream of it, at once, and for good."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bridge.core.errors import StorageError
from bridge.stream.limits import StreamLimits
from share.model.share import EndReason
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import (
    FILE,
    SMALL_BUFFER_BYTES,
    STREAM,
    SharingBridge,
    broken_database,
    flood,
    seed,
    stalled,
)
from tests.functional.stream.clients import Client
from tests.functional.stream.raw import CLOSE, TEXT, frame
from tests.functional.stream.served import eventually, open_sockets

VIEWERS = 200


async def ended(client: Client) -> tuple[int | None, list[dict[str, Any]]]:
    """Close code and the events that are no messages."""
    code, events = await client.end()
    return code, [event for event in events if event["event"] != "message"]


async def test_open_streams_are_told_and_closed(bridge: SharingBridge) -> None:
    """``revoked`` with no reason, 1008; the fleet's watchers, and other shares of the same device, go on."""
    viewer, share = await bridge.viewer("A", label="Ann")
    other, _ = await bridge.viewer("A")
    watcher = await bridge.watch("A")
    over = await bridge.sharing.links.revoke(share)
    assert over.end_reason is EndReason.REVOKED
    assert await ended(viewer) == (1008, [{"event": "revoked", "data": {}}])
    assert viewer.reason == "credential revoked"
    bridge.publish(seed("A"))
    await other.expect("message")
    await watcher.expect("message")
    assert await bridge.sharing.links.revoke(share) == over


async def test_token_of_a_revoked_share_opens_nothing(bridge: SharingBridge) -> None:
    """``share_closed`` and 1008, for good; `init` says ``share_revoked``."""
    share, code = await bridge.share()
    token = await bridge.token_of(code)
    await bridge.sharing.links.revoke(share)
    for _ in range(2):
        end, events = await (await bridge.view(token)).end()
        assert (end, [event["data"]["code"] for event in events]) == (1008, ["share_closed"])
    assert (await bridge.init(code))[1]["code"] == "share_revoked"


async def test_hundreds_and_the_stalled_are_gone_at_once(start: StartSharing) -> None:
    """Every stream has ended, and every file of a stalled one is closed, with no wait for a goodbye; all hear of it."""
    bridge = await start(
        public_requests_per_minute=0,
        max_connections_per_ip=0,
        handshakes_per_second=0,
        stream=StreamLimits(close_seconds=60.0),
        send_buffer_bytes=SMALL_BUFFER_BYTES,
    )
    share, code = await bridge.share()
    token = await bridge.token_of(code)
    before = open_sockets()
    dead = [await stalled(bridge, token) for _ in range(10)]
    flooding = asyncio.create_task(flood(bridge))
    await eventually(lambda: bridge.streaming.broker.statistics().behind == len(dead))
    flooding.cancel()
    raws = [await bridge.raw() for _ in range(VIEWERS)]
    for client in raws:
        await client.upgrade(STREAM, token)
    assert bridge.sharing.links.viewers(share.id) == VIEWERS + len(dead)
    bridge.publish(seed("A"))
    await bridge.sharing.links.revoke(share)
    assert bridge.streaming.broker.statistics().subscriptions == 0
    bridge.publish(seed("A", lat=7.0))
    for client in raws:
        last, taken = b"", await client.frame()
        while taken is not None and taken[0] == TEXT:
            last, taken = taken[1], await client.frame()
        assert json.loads(last) == {"event": "revoked", "data": {}}
        assert taken is not None and taken[0] == CLOSE
        assert int.from_bytes(taken[1][:2], "big") == 1008
        await client.send(frame(CLOSE, taken[1][:2]))
    await eventually(lambda: not bridge.streaming.streams)
    await eventually(lambda: open_sockets() <= before + len(dead) + VIEWERS)
    for client in dead:
        assert b'"revoked"' not in await client.all_bytes()
        assert client.ended == "reset"


async def test_viewer_that_never_says_goodbye(start: StartSharing) -> None:
    """It gets nothing more from the moment of the call, and is cut ``close_seconds`` later."""
    bridge = await start(stream=StreamLimits(close_seconds=0.3))
    share, code = await bridge.share()
    client = await bridge.raw()
    await client.upgrade(STREAM, await bridge.token_of(code))
    await bridge.sharing.links.revoke(share)
    bridge.publish(seed("A"))
    events, end = await client.events_to_end()
    assert end == 1008
    assert [event["event"] for event in events] == ["hello", "revoked"]


async def test_revocation_that_cannot_be_stored_is_not_one(start: StartSharing) -> None:
    """StorageError, and the stream goes on as the caller must believe; the next try counts."""
    bridge = await start(database_url=FILE)
    viewer, share = await bridge.viewer("A")
    with broken_database():
        with pytest.raises(StorageError):
            await bridge.sharing.links.revoke(share)
        bridge.publish(seed("A"))
        await viewer.expect("message")
        assert bridge.sharing.links.find_open(share.id) is not None
    await bridge.sharing.links.revoke(share)
    assert (await viewer.end())[0] == 1008


async def test_streams_that_open_while_it_is_revoked(start: StartSharing) -> None:
    """However the two meet, none of them is left open."""
    bridge = await start(public_requests_per_minute=0)
    share, code = await bridge.share()
    token = await bridge.token_of(code)

    async def come(number: int) -> str:
        await asyncio.sleep(number * 0.001)
        client = await bridge.view(token)
        end, events = await client.end()
        assert end == 1008
        return str(events[-1]["data"].get("code", events[-1]["event"]))

    async def revoke() -> None:
        await asyncio.sleep(0.02)
        await bridge.sharing.links.revoke(share)

    outcomes = (await asyncio.gather(*(come(number) for number in range(40)), revoke()))[:-1]
    assert set(outcomes) <= {"revoked", "share_closed"}
    await eventually(lambda: bridge.sharing.entrance.viewers == 0)
