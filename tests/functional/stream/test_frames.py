"""Frames that no proper client sends: each is answered in words, closed with its code, and harms nobody."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
import websockets.asyncio.client as stranger
from websockets.exceptions import ConnectionClosedError

from bridge.core.limits import MAX_MESSAGE_BYTES
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, frame
from tests.functional.stream.served import PATIENCE_SECONDS, Bridge, eventually, position, stream_limits

CLOSE_SECONDS = 0.5
LINGER_SECONDS = 0.05
PING_COMMAND = b'{"action":"ping"}'
BROKEN = [
    ("reserved bits", frame(TEXT, b"ping", reserved=0b100), 1002),
    ("reserved bits", frame(TEXT, b"ping", reserved=0b011), 1002),
    ("unknown opcode", frame(0x3, b"x"), 1002),
    ("unknown control opcode", frame(0xB, b"x"), 1002),
    ("not masked", frame(TEXT, b"ping", masked=False), 1002),
    ("a length in two bytes for one", b"\x81\xfe\x00\x04" + bytes(4) + b"ping", 1002),
    ("a length in eight bytes for two", b"\x81\xff" + (126).to_bytes(8, "big") + bytes(4) + b" " * 126, 1002),
    ("long ping", frame(PING, b"x" * 126), 1002),
    ("ping in pieces", frame(PING, b"x", fin=False), 1002),
    ("continuation of nothing", frame(CONTINUATION, b"x"), 1002),
    ("text within a text", frame(TEXT, b"pi", fin=False) + frame(TEXT, b"ng"), 1002),
    ("close frame of one byte", frame(CLOSE, b"x"), 1002),
    ("close code that does not exist", frame(CLOSE, (1004).to_bytes(2, "big")), 1002),
    ("close text that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ("not UTF-8", frame(TEXT, b'{"action":"\xff"}'), 1007),
    ("not UTF-8 over two frames", frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"("), 1007),
    ("one byte too long", frame(TEXT, b" " * (MAX_MESSAGE_BYTES + 1)), 1009),
    ("binary, too long", frame(BINARY, bytes(MAX_MESSAGE_BYTES + 1)), 1009),
    ("2^62 bytes announced", frame(TEXT, b"x", length=2**62), 1009),
    ("2^63 bytes announced", frame(TEXT, b"x", length=2**63), 1002),
    ("too long in two frames", frame(TEXT, b" " * 9000, fin=False) + frame(CONTINUATION, b" " * 9000), 1009),
]
CODES = {1002: "protocol_error", 1007: "invalid_utf8", 1009: "message_too_big"}


@pytest.fixture
async def bridge(start: StartBridge) -> Bridge:
    """A server that does not wait long for a client's goodbye."""
    return await start(limits=stream_limits(linger_seconds=LINGER_SECONDS, close_seconds=CLOSE_SECONDS))


async def welcomed(bridge: Bridge) -> RawClient:
    """A raw client on ``/ws`` that has read hello."""
    client = await bridge.raw()
    await client.upgrade("/api/v1/ws", bridge.token())
    assert (await client.frame() or (0,))[0] == TEXT
    return client


@pytest.mark.parametrize("what,data,code", BROKEN, ids=[what for what, _, _ in BROKEN])
async def test_broken_frame_is_told_and_closed(bridge: Bridge, what: str, data: bytes, code: int) -> None:
    """An ``error`` event, one Close frame with the code, and the end of the connection; others do not notice."""
    other = await bridge.watch()
    client = await welcomed(bridge)
    await client.send(data)
    events, closed_with = await client.events_to_end()
    assert [event["data"]["code"] for event in events] == [CODES[code]]
    assert (closed_with, client.ended) == (code, "eof")
    await client.leave()
    await eventually(lambda: len(bridge.streaming.streams) == 1)
    bridge.publish(position("A"))
    await other.expect("message")


@pytest.mark.parametrize("size", [20 * 1024, 5 * 1024 * 1024])
async def test_huge_message_gets_its_answer_while_it_is_sent(start: StartBridge, size: int) -> None:
    """The client that still writes is not reset: it reads the error and 1009, with three different clients."""
    # Nobody is cut who takes long to send, and a library goes before the server hangs up.
    patient = {"close_seconds": PATIENCE_SECONDS, "bytes_per_second": 8 * 1024 * 1024}
    bridge = await start(limits=stream_limits(linger_seconds=PATIENCE_SECONDS, **patient))
    browserlike = await bridge.join()
    await browserlike.socket.send_str(" " * size)
    code, events = await browserlike.end()
    assert (code, [event["data"]["code"] for event in events]) == (1009, ["message_too_big"])

    headers = {"Authorization": f"Bearer {bridge.token()}"}
    async with stranger.connect(
        bridge.url("/api/v1/ws", "ws"), additional_headers=headers, proxy=None, close_timeout=0.1
    ) as socket:
        await socket.recv()
        await socket.send(" " * size)
        assert json.loads(await socket.recv())["data"]["code"] == "message_too_big"
        await socket.close()
        with pytest.raises(ConnectionClosedError):
            await socket.recv()
    assert (socket.close_code, socket.close_reason) == (1009, "message too big")

    bridge = await start(limits=stream_limits(linger_seconds=LINGER_SECONDS, **patient))
    client = await welcomed(bridge)
    sending = asyncio.create_task(client.send(frame(TEXT, bytes(size))))
    heard, code = await client.events_to_end()
    await sending
    assert (code, client.ended) == (1009, "eof")
    assert heard[-1]["data"]["code"] == "message_too_big"


async def test_endless_message_is_cut(bridge: Bridge) -> None:
    """Who goes on sending after 1009 is cut CLOSE_SECONDS later; nothing of it is kept."""
    client = await welcomed(bridge)
    await client.send(frame(TEXT, b"", length=2**40))
    await client.send_until_cut(bytes(1 << 20), 0)
    await eventually(lambda: not bridge.streaming.streams)


async def test_fragments_make_one_message(bridge: Bridge) -> None:
    """A command in single bytes, with pings between them, is carried out; the pings are answered first."""
    client = await welcomed(bridge)
    pieces = [frame(TEXT, PING_COMMAND[:1], fin=False)]
    pieces += [frame(CONTINUATION, PING_COMMAND[at : at + 1], fin=False) for at in range(1, len(PING_COMMAND))]
    pieces.insert(5, frame(PING, b"now"))
    await client.send(b"".join(pieces) + frame(CONTINUATION))
    assert await client.frame() == (PONG, b"now")
    assert await client.frame() == (TEXT, b'{"event":"pong","data":{}}')


async def test_endless_fragments_are_cut_at_the_limit(bridge: Bridge) -> None:
    """A message without an end may not grow beyond the limit for whole ones."""
    client = await welcomed(bridge)
    await client.send(frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x" * 64, fin=False) * 256)
    events, code = await client.events_to_end()
    assert (code, events[-1]["data"]["code"]) == (1009, "message_too_big")


async def test_empty_fragments_change_nothing(bridge: Bridge) -> None:
    """Fragments of no bytes cost no memory, and the message is carried out when it ends."""
    client = await welcomed(bridge)
    await client.send(frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 400)
    await client.send(frame(CONTINUATION, b"ping"))
    assert await client.frame() == (TEXT, b'{"event":"pong","data":{}}')


async def test_frame_in_single_bytes_is_put_together(bridge: Bridge) -> None:
    """TCP owes nobody whole frames."""
    client = await welcomed(bridge)
    for byte in frame(TEXT, PING_COMMAND):
        await client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await client.frame() == (TEXT, b'{"event":"pong","data":{}}')


async def test_ping_is_answered_with_its_payload(bridge: Bridge) -> None:
    """RFC 6455 section 5.5.3, at both ends of the allowed length; a pong that nobody asked for is ignored."""
    client = await welcomed(bridge)
    for payload in (b"", b"\x00\xff" * 62 + b"!"):
        await client.send(frame(PONG, payload) + frame(PING, payload))
        assert await client.frame() == (PONG, payload)


@pytest.mark.parametrize("payload", [b"", (1000).to_bytes(2, "big"), (1001).to_bytes(2, "big") + b"bye", b"\x0f\xa0"])
async def test_goodbye_is_answered_and_the_server_hangs_up(
    bridge: Bridge, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A Close frame is answered with one, whatever its code; the log calls it a goodbye."""
    client = await welcomed(bridge)
    await client.send(frame(CLOSE, payload))
    assert await client.events_to_end() == ([], 1000)
    assert client.ended == "eof"
    await eventually(lambda: not bridge.streaming.streams)
    assert "goodbye (1000)" in caplog.text


async def test_frames_after_the_goodbye_are_ignored(bridge: Bridge) -> None:
    """Nothing is carried out once the client has said Close."""
    client = await welcomed(bridge)
    await client.send(frame(CLOSE, b"\x03\xe8") + frame(TEXT, PING_COMMAND) * 3)
    assert await client.events_to_end() == ([], 1000)


async def test_half_closed_connection_is_ended(bridge: Bridge) -> None:
    """A client that has shut its sending side can answer no ping: the stream ends at once."""
    client = await welcomed(bridge)
    client.sock.shutdown(1)
    await client.all_bytes()
    assert client.ended == "eof"
    await eventually(lambda: not bridge.streaming.streams)


async def test_client_that_vanishes_mid_flood_harms_nobody(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that breaks while it is written to costs one line in the log, and the others nothing."""
    other = await bridge.watch("B")
    for _ in range(5):
        client = await bridge.watch("A", bridge.token("A"))
        transport = client.socket.get_extra_info("socket")
        assert transport is not None
        bridge.publish(*(position("A", pad=1000) for _ in range(50)))
        assert isinstance(client.socket, aiohttp.ClientWebSocketResponse)
        client.socket._response.close()
        bridge.publish(*(position("A", pad=1000) for _ in range(50)), position("B"))
        await other.expect("message")
    await eventually(lambda: len(bridge.streaming.streams) == 1)
    assert caplog.text.count("connection lost (1006)") == 5
    assert "WARNING" not in caplog.text
