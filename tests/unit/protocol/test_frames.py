"""The frames on the wire, read back by another project's parser."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from bridge.core.times import timestamp
from bridge.protocol.closing import CloseReason
from bridge.protocol.frames import (
    KEEP_ALIVE,
    close_frame,
    error_frame,
    event_frame,
    json_text,
    message_frame,
    pong_frame,
    text_frame,
)
from tests.fakes import events_in, frames_in


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
def test_frame_of_any_length_is_read_by_a_stranger(size: int) -> None:
    """One final, unmasked text frame with the shortest length field (RFC 6455 section 5.2)."""
    payload = b"x" * size
    assert frames_in(text_frame(payload)) == [Frame(Opcode.TEXT, payload, fin=True)]
    assert len(text_frame(payload)) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


@given(st.lists(st.text(max_size=300), max_size=5))
def test_frames_can_be_joined(texts: list[str]) -> None:
    """Many frames in one write are the same frames."""
    assert [bytes(f.data).decode() for f in frames_in(b"".join(text_frame(text.encode()) for text in texts))] == texts


def test_pong_carries_the_payload_of_the_ping() -> None:
    """Byte for byte, up to the 125 bytes that a control frame may have."""
    assert frames_in(pong_frame(b"\x00\xff" * 62)) == [Frame(Opcode.PONG, b"\x00\xff" * 62)]


def test_heartbeat_is_an_event_and_a_ping() -> None:
    """Browsers do not show pings to the page, so the event says it too."""
    first, second = frames_in(KEEP_ALIVE)
    assert json.loads(bytes(first.data)) == {"event": "ping", "data": {"type": "keep-alive"}}
    assert second == Frame(Opcode.PING, b"")


PAYLOADS = [
    b'{"a":1}', b'  {"a" : 1.0}\n', b"null", b"12345678901234567890.10", b'"\\u0041\xc3\xa9"', b'{"a":1,"a":2}', b"[]",
    b'{"x":"%s %d %b"}', b'{"x":"' + b"y" * 70_000 + b'"}',
]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: repr(payload[:20]))
@pytest.mark.parametrize("replay", [False, True])
def test_payload_stands_in_the_message_byte_for_byte(payload: bytes, replay: bool) -> None:
    """Blanks, long numbers, escapes and duplicate keys are the device's own business."""
    (frame,) = frames_in(message_frame("k3f9-1", "A", payload, replay))
    mark = b'"replay":true,' if replay else b""
    assert frame.data == b'{"event":"message","id":"k3f9-1","device_id":"A",%b"data":%b}' % (mark, payload)
    event = json.loads(bytes(frame.data))
    assert event["data"] == json.loads(payload)
    assert ("replay" in event) is replay


@pytest.mark.parametrize("size", [124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537])
def test_message_of_any_length_is_framed_right(size: int) -> None:
    """The lengths at which the length field changes, counted over the whole event."""
    room = size - len(frames_in(message_frame("k-1", "A", b"", False))[0].data)
    frame = message_frame("k-1", "A", b"1" * room, False)
    assert [len(one.data) for one in frames_in(frame)] == [size]
    assert len(frame) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


@pytest.mark.parametrize("reason", [reason for reason in CloseReason if reason is not CloseReason.LOST])
def test_close_frame_carries_code_and_text(reason: CloseReason) -> None:
    """As a stranger reads them (RFC 6455 section 5.5.1)."""
    (frame,) = frames_in(close_frame(reason.code, reason.text))
    assert frame.opcode is Opcode.CLOSE
    assert Close.parse(bytes(frame.data)) == Close(reason.code, reason.text)


@pytest.mark.parametrize("device_id", ["0848086072", 'a"b', "<script>", "地図", "é", "\U0001f69a", "__proto__", "%b"])
def test_device_id_is_escaped_as_json(device_id: str) -> None:
    """A quotation mark in an id cannot add a field."""
    (event,) = events_in(message_frame("k-1", device_id, b"{}", False))
    assert event == {"event": "message", "id": "k-1", "device_id": device_id, "data": {}}
    assert json.loads(json_text(device_id)) == device_id


@pytest.mark.parametrize("ref", [0, -1, 2**53, "", "a", '"'])
def test_ref_comes_back_as_it_was(ref: int | str) -> None:
    """Zero and the empty text are refs too; only None is left out."""
    assert events_in(event_frame("pong", {}, ref)) == [{"event": "pong", "ref": ref, "data": {}}]
    assert events_in(event_frame("pong", {})) == [{"event": "pong", "data": {}}]


def test_error_says_code_and_advice_and_the_ref_twice() -> None:
    """In the place of every answer, and inside the data as the protocol has it."""
    assert events_in(error_frame("bad", "do that")) == [
        {"event": "error", "data": {"code": "bad", "message": "do that"}}
    ]
    assert events_in(error_frame("bad", "do that", 0)) == [
        {"event": "error", "ref": 0, "data": {"code": "bad", "message": "do that", "ref": 0}}
    ]


@pytest.mark.parametrize(
    "at, text",
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_900_000_000.0, "2030-03-17T17:46:40.000Z"),
        (1_900_000_000.5, "2030-03-17T17:46:40.500Z"),
        (1_900_000_000.9999, "2030-03-17T17:46:40.999Z"),
        (4_102_444_800.001, "2100-01-01T00:00:00.001Z"),
    ],
)
def test_timestamps_are_utc_to_the_millisecond(at: float, text: str) -> None:
    """RFC 3339 with Z, always three digits, never rounded up into the future."""
    assert timestamp(at) == text
