"""From hello to goodbye: what a client that behaves hears."""

from __future__ import annotations

import json

import pytest
import websockets.asyncio.client as stranger

from bridge.core.limits import COMMANDS_PER_SECOND, MAX_MESSAGE_BYTES
from bridge.core.telemetry import Telemetry, UpstreamState
from tests.functional.stream.clients import numbers
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.served import Bridge, happening, position, written

PAYLOADS = [
    b'{"lat":1.50,"lon":-0.0,"big":12345678901234567890123,"e":1E+2}',
    b' { "b" : 1 ,\r\n\t"a" : [ 1.0 , 2 ] } ',
    '{"name":"Ñandú 🚚","escaped":"\\u00d1\\/"}'.encode(),
    b"[]",
    b"null",
    b'"text"',
    b'{"event":"expired","data":{}}',
    b'{"pad":"' + b"x" * 70_000 + b'"}',
]


async def test_first_frames_say_who_you_are_and_what_you_get(bridge: Bridge) -> None:
    """``hello`` comes first, with the limits and the principal; ``subscribed`` comes second."""
    client = await bridge.connect("/api/v1/stream?device_ids=A,B,C", bridge.token("A", "B", subject="ana"))
    hello = await client.expect("hello")
    assert hello["protocol"] == 1
    assert hello["connection_id"]
    assert hello["heartbeat_seconds"] == 25
    assert hello["expires_at"].endswith("Z")
    assert hello["overflow"] == "latest"
    assert hello["principal"] == {"subject": "ana", "devices": ["A", "B"], "groups": [], "scopes": ["stream"]}
    assert hello["limits"] == {
        "device_ids": 1000,
        "message_bytes": MAX_MESSAGE_BYTES,
        "commands_per_second": COMMANDS_PER_SECOND,
        "queue_messages": 100,
        "queue_bytes": 256 * 1024,
    }
    assert await client.expect("subscribed") == {"device_ids": ["A", "B"], "groups": [], "refused": ["C"]}


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
async def test_payload_arrives_byte_for_byte(bridge: Bridge, payload: bytes) -> None:
    """``data`` is the text that the device published: digits, blanks, escapes and all."""
    client = await bridge.watch()
    bridge.publish(Telemetry("A", payload))
    message = await client.next()
    assert message is not None
    assert (message["event"], message["device_id"]) == ("message", "A")
    assert client.texts[-1].endswith(f'"device_id":"A","data":{payload.decode()}}}')
    assert "replay" not in message


async def test_device_id_is_escaped_as_json(bridge: Bridge) -> None:
    """An id with quotes and other scripts in it does not break the frame."""
    device_id = 'Ñ"1" {x}'
    client = await bridge.join(bridge.token("*"))
    await client.ask("subscribe", device_ids=[device_id])
    bridge.publish(happening(device_id, 7))
    message = await client.next()
    assert message is not None
    assert message["device_id"] == device_id


async def test_messages_keep_their_order_and_have_different_ids(bridge: Bridge) -> None:
    """Many messages in many turns arrive in order, none twice."""
    client = await bridge.watch("A,B")
    for turn in range(20):
        bridge.publish(*(happening("AB"[number % 2], turn * 10 + number) for number in range(10)))
    events = await client.quiet()
    assert numbers(events) == list(range(200))
    assert len({(event["device_id"], event["id"]) for event in events}) == 200  # ids count per device


async def test_snapshot_shows_the_last_known_messages(bridge: Bridge) -> None:
    """A new subscriber sees the newest position and the newest other message, marked as replay; then live ones."""
    bridge.publish(position("A", 1), happening("A", 2), position("A", 3), position("B", 4))
    client = await bridge.watch("A")
    events = await client.quiet()
    assert numbers(events) == [2, 3]
    assert all(event["replay"] is True for event in events)
    bridge.publish(position("A", 5))
    live = await client.next()
    assert live is not None
    assert (live["data"]["n"], live.get("replay")) == (5, None)


@pytest.mark.parametrize("flag", ["false", "0", "False"])
async def test_snapshot_can_be_declined(bridge: Bridge, flag: str) -> None:
    """``snapshot=false`` in the URL, or in the command, brings live messages only."""
    bridge.publish(position("A", 1))
    client = await bridge.watch("A", extra=f"&snapshot={flag}")
    await client.ask("subscribe", device_ids=["A"], snapshot=False)
    assert await client.quiet() == []


async def test_retained_message_is_marked_as_replay(bridge: Bridge) -> None:
    """What the MQTT broker had retained is a last-known value, not news."""
    client = await bridge.watch()
    bridge.publish(position("A", 1, retained=True))
    message = await client.next()
    assert message is not None
    assert message["replay"] is True


async def test_large_snapshot_comes_whole_and_lets_others_live(bridge: Bridge) -> None:
    """Two thousand last-known messages arrive once each, also when live ones come in between."""
    bridge.publish(*(position(f"D{number}", number, pad=200) for number in range(2000)))
    token = bridge.token("*")
    client = await bridge.connect("/api/v1/stream?device_ids=*", token)
    bridge.publish(position("D1999", 5000), happening("new", 6000))
    await client.expect("hello")
    await client.expect("subscribed")
    seen: list[int] = []
    while len(seen) < 2001:
        seen += numbers([await client.until("message")])
    assert sorted(seen) == [*range(1999), 5000, 6000]
    assert await client.quiet() == []


async def test_upstream_is_told_when_it_goes_and_comes(bridge: Bridge) -> None:
    """Clients learn that telemetry cannot arrive; those who connect meanwhile learn it after hello."""
    client = await bridge.watch()
    bridge.streaming.intake.upstream(UpstreamState.DOWN)
    assert await client.expect("upstream") == {"state": "down"}
    late = await bridge.connect("/api/v1/ws", bridge.token())
    await late.expect("hello")
    assert await late.expect("upstream") == {"state": "down"}
    bridge.streaming.intake.upstream(UpstreamState.UP)
    for each in (client, late):
        assert await each.expect("upstream") == {"state": "up"}
    bridge.streaming.intake.upstream(UpstreamState.UP)
    assert await client.quiet() == []


async def test_messages_lost_before_the_fan_out_are_told_as_a_gap(bridge: Bridge) -> None:
    """What the handoff had to drop reaches the subscribers of those devices as a count, and nobody else."""
    client, other = await bridge.watch("A"), await bridge.watch("B")
    bridge.streaming.intake.lost({"A": 3, "X": 2}, 0)
    gap = await client.expect("gap")
    assert (gap["count"], gap["dropped"], gap["conflated"], gap["devices"]) == (3, 3, 0, {"A": 3})
    assert gap["since"].endswith("Z")
    assert await other.quiet() == []


async def test_stranger_with_compression_is_served_without(bridge: Bridge) -> None:
    """Another library that offers permessage-deflate gets plain frames, its pings are answered, and it can close."""
    headers = {"Authorization": f"Bearer {bridge.token()}"}
    async with stranger.connect(
        bridge.url("/api/v1/stream?device_ids=A", "ws"), additional_headers=headers, compression="deflate", proxy=None
    ) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        assert json.loads(await socket.recv())["event"] == "hello"
        await (await socket.ping(b"are you there"))
        assert json.loads(await socket.recv())["event"] == "subscribed"
        bridge.publish(position("A", 9))
        assert json.loads(await socket.recv())["data"]["n"] == 9
    assert (socket.close_code, socket.protocol.close_rcvd_then_sent) == (1000, False)


async def test_groups_are_followed(start: StartBridge) -> None:
    """A group stands for its members, patterns included, and only for those who may see it."""
    bridge = await start(groups_file=written('[groups]\nnorth = ["A", "truck-*"]\nsouth = ["S"]\n'))
    bridge.publish(position("truck-0", 0))
    client = await bridge.connect("/api/v1/stream?groups=north,south,none", bridge.token(groups=["north"]))
    await client.expect("hello")
    assert await client.expect("subscribed") == {"device_ids": [], "groups": ["north"], "refused": ["none", "south"]}
    bridge.publish(position("A", 1), position("S", 2), position("truck-9", 3), position("B", 4))
    assert numbers(await client.quiet()) == [0, 1, 3]
    answer = await client.ask("unsubscribe", groups=["north"])
    assert answer["data"] == {"device_ids": [], "groups": ["north"], "refused": []}
    bridge.publish(position("A", 5))
    assert await client.quiet() == []
