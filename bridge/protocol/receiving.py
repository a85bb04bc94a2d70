"""The receiving half of RFC 6455 for a server: bytes in, messages and control frames out. Sans I/O, no clock.

An unmasked frame, a length in more bytes than it needs, a close code that may not be sent: whatever a client is not
allowed to send is a ProtocolError with the close code of RFC 6455 section 7.4.1. Extensions are not negotiated, so
reserved bits are errors too.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from bridge.core.errors import BridgeError

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_CONTROL: Final = 0x08
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_MAX_CONTROL_BYTES: Final = 125
_MASK_BYTES: Final = 4
NO_CODE: Final = 1005
"""A Close frame without a code (RFC 6455 section 7.1.5)."""
_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""Close codes that may stand in a frame: RFC 6455 section 7.4, and what IANA's registry has added since."""


class Opcode(IntEnum):
    """What a frame, or the message that it begins, is."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES: Final = {opcode.value: opcode for opcode in Opcode}


class Event(NamedTuple):
    """A whole message, or a control frame."""

    opcode: Opcode
    """TEXT, BINARY, CLOSE, PING or PONG."""
    payload: bytes
    text: str = ""
    """Of TEXT the message, of CLOSE the reason."""
    code: int = NO_CODE
    """Of CLOSE."""


class ProtocolError(BridgeError):
    """The client may not send what it has sent. ``code`` is 1002, 1007 or 1009; the text quotes nothing."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Receiver:
    """The bytes of one client. After a ProtocolError, or a CLOSE, it gives nothing more.

    Keeps what was fed until it is asked for, and of a message in fragments the bytes, never the frames.
    """

    __slots__ = ("_at", "_data", "_ended", "_fragments", "_max_message_bytes", "_opcode", "frames")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._data = b""
        self._at = 0
        self._opcode: Opcode | None = None
        self._fragments = bytearray()
        self._ended = False
        self.frames = 0
        """Frames taken so far, those that gave no event included."""

    def feed(self, data: bytes | memoryview) -> None:
        """Keep ``data`` behind what was fed before."""
        if not self._ended:
            self._data = self._data[self._at :] + bytes(data)
            self._at = 0

    def next_event(self, max_frames: int) -> Event | None:
        """The next event, after at most ``max_frames`` frames; None when there is none in what was fed, or not by then.

        ProtocolError as soon as a frame's head, or the message that it ends, breaks the rules.
        """
        for _ in range(max_frames):
            event = self._frame()
            if event is not _NOTHING:
                return event
        return None

    def _frame(self) -> Event | None:
        """Take one frame: its event, _NOTHING for a part of a message, None where it is not complete."""
        data, at = self._data, self._at
        end = len(data)
        if self._ended or end - at < 2:
            return None
        first, second = data[at], data[at + 1]
        opcode = _OPCODES.get(first & _OPCODE)
        length = second & _LENGTH
        self._check_head(first, second, opcode, length)
        start = at + 2
        if length >= _TWO_BYTES:
            width = 2 if length == _TWO_BYTES else 8
            start += width
            if end < start:
                return None
            length = int.from_bytes(data[start - width : start], "big")
            if length < _TWO_BYTES or (width == 8 and not 1 << 16 <= length < 1 << 63):
                raise self._error(1002, "a length in more bytes than it needs")
        if length + (0 if first & _CONTROL else len(self._fragments)) > self._max_message_bytes:
            raise self._error(1009, "a message above the limit")
        stop = start + _MASK_BYTES + length
        if end < stop:
            return None
        payload = _unmasked(data[start + _MASK_BYTES : stop], data[start : start + _MASK_BYTES]) if length else b""
        self._at = stop
        self.frames += 1
        assert opcode is not None
        return self._take(opcode, first & _FIN != 0, payload)

    def _check_head(self, first: int, second: int, opcode: Opcode | None, length: int) -> None:
        if opcode is None or first & _RESERVED:
            raise self._error(1002, "a reserved opcode or bit")
        if not second & _MASKED:
            raise self._error(1002, "a frame that is not masked")
        if opcode & _CONTROL:
            if not first & _FIN or length > _MAX_CONTROL_BYTES:
                raise self._error(1002, "a control frame in parts or above 125 bytes")
        elif (opcode is Opcode.CONTINUATION) is (self._opcode is None):
            raise self._error(1002, "a continuation of nothing, or a message within another")

    def _take(self, opcode: Opcode, is_last: bool, payload: bytes) -> Event | None:
        if opcode is Opcode.CLOSE:
            return self._close(payload)
        if opcode & _CONTROL:
            return Event(opcode, payload)
        if opcode is not Opcode.CONTINUATION:
            if is_last:
                return self._message(opcode, payload)
            self._opcode = opcode
        self._fragments += payload
        if not is_last:
            return _NOTHING
        begun, payload, self._opcode, self._fragments = self._opcode, bytes(self._fragments), None, bytearray()
        assert begun is not None
        return self._message(begun, payload)

    def _message(self, opcode: Opcode, payload: bytes) -> Event:
        return Event(opcode, payload, self._text(payload)) if opcode is Opcode.TEXT else Event(opcode, payload)

    def _close(self, payload: bytes) -> Event:
        if not payload:
            self._ended = True
            return Event(Opcode.CLOSE, b"")
        code = int.from_bytes(payload[:2], "big")
        if len(payload) < 2 or code not in _CODES:
            raise self._error(1002, "a close code that may not be sent")
        reason = self._text(payload[2:])
        self._ended = True
        return Event(Opcode.CLOSE, payload, reason, code)

    def _text(self, payload: bytes) -> str:
        try:
            return payload.decode()
        except UnicodeDecodeError:
            raise self._error(1007, "text that is not UTF-8") from None

    def _error(self, code: int, text: str) -> ProtocolError:
        self._ended = True
        self._data, self._at, self._fragments = b"", 0, bytearray()
        return ProtocolError(code, text)


_NOTHING: Final = Event(Opcode.CONTINUATION, b"")


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """RFC 6455 section 5.3, for the whole payload at once."""
    size = len(payload)
    key = int.from_bytes((mask * (size // _MASK_BYTES + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
