"""WebSocket frames, encoded once for all sockets that get them. Pure.

A server's frame is a head and the payload, unmasked (RFC 6455 section 5.2), so the same bytes serve
every socket. No compression: it would cost 300 KiB a socket and encode once would be lost.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

_TEXT: Final = 0x81
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
_LIVE: Final = b',"data":'
_REPLAY: Final = b',"replay":true,"data":'

Ref = str | int | None


def text_frame(payload: bytes) -> bytes:
    """One whole text message. ``payload`` is UTF-8 of any length."""
    return _frame(_TEXT, payload)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a peer's ping (RFC 6455 section 5.5.3). ``payload`` is at most 125 bytes."""
    return _frame(_PONG, payload)


def close_frame(code: int, text: str) -> bytes:
    """Our half of the closing handshake (RFC 6455 section 5.5.1). ``text`` is at most 123 bytes of UTF-8."""
    return _frame(_CLOSE, struct.pack("!H", code) + text.encode())


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def message_frame(message_id: str, device_id: str, payload: bytes, replay: bool) -> bytes:
    """The ``message`` event of one telemetry message.

    ``payload`` stands in the frame byte for byte; the caller has checked that it is JSON.
    """
    body = b'{"event":"message","id":"%b","device_id":%b%b%b}' % (
        message_id.encode(),
        json_text(device_id),
        _REPLAY if replay else _LIVE,
        payload,
    )
    size = len(body)
    if 126 <= size < 65536:  # nearly every message: spared two calls
        return b"\x81\x7e" + size.to_bytes(2, "big") + body
    return text_frame(body)


@lru_cache(maxsize=16_384)
def json_text(text: str) -> bytes:
    """``text`` as a JSON string. Kept for the device ids that come by thousands of times a second."""
    return orjson.dumps(text)


def event_frame(event: str, data: Mapping[str, Any], ref: Ref = None) -> bytes:
    """Any other event. ``ref`` is left out when the client gave none."""
    body: dict[str, Any] = {"event": event}
    if ref is not None:
        body["ref"] = ref
    body["data"] = data
    return text_frame(orjson.dumps(body))


def error_frame(code: str, message: str, ref: Ref = None) -> bytes:
    """An ``error`` event: ``code`` for programs, ``message`` for people; it says what to do."""
    data: dict[str, Any] = {"code": code, "message": message}
    if ref is not None:
        data["ref"] = ref
    return event_frame("error", data, ref)


KEEP_ALIVE: Final = event_frame("ping", {"type": "keep-alive"}) + _frame(_PING, b"")
"""The heartbeat: the event for clients that cannot see WebSocket pings, and the WebSocket ping itself."""
