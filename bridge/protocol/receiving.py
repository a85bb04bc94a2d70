"""The receiving half of RFC 6455 for a server: bytes in, messages and control frames out. Sans I/O, no clock.

The caller feeds what it has read, at most a buffer at a time, and takes events out under a budget of frames; the rest
stays bytes until the caller asks again::

    receiver.feed(data)
    for event in receiver.events(max_frames=100):
        ...

Extensions are not negotiated, so reserved bits are errors. Permessage-deflate would add its first bytes (RSV1 on the
first frame of a message, RFC 7692 section 6) to ``_FIRST_BYTES``.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple


class Opcode(IntEnum):
    """What a frame, or the message that it begins, is (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_CONTINUATION: Final = Opcode.CONTINUATION
_CLOSE: Final = Opcode.CLOSE
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_CONTROL: Final = 0x08
_HEAD_BYTES: Final = 2
_MASK_BYTES: Final = 4
_MAX_CONTROL_BYTES: Final = 125
_TWO_BYTES: Final = 126
"""A length of 126 says that the length stands in the next two bytes; _EIGHT_BYTES, in the next eight."""
_EIGHT_BYTES: Final = 127
_MIN_LONG: Final = {_TWO_BYTES: 126, _EIGHT_BYTES: 1 << 16}
_MAX_LENGTH: Final = (1 << 63) - 1

_FIRST_BYTES: Final = {final | opcode: opcode for opcode in Opcode for final in (0, _FIN) if final or opcode < _CONTROL}
"""The first bytes that a frame may have: no reserved bit, no reserved opcode, no control frame in parts."""

_PROTOCOL_ERROR: Final = 1002
_INVALID_DATA: Final = 1007
_TOO_BIG: Final = 1009
NO_CODE: Final = 1005
"""Stands for a Close frame without a code (RFC 6455 section 7.1.5)."""
_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""Close codes that may stand in a frame: RFC 6455 section 7.4.2 and the IANA WebSocket Close Code Number Registry."""


class Event(NamedTuple):
    """A whole message, or a control frame."""

    opcode: Opcode
    """TEXT, BINARY, CLOSE, PING or PONG."""
    payload: bytes
    """All of it, unmasked."""
    text: str = ""
    """Of TEXT the message, of CLOSE the reason."""
    code: int = NO_CODE
    """Of CLOSE."""


_from_bytes: Final = int.from_bytes  # looked up once: it is called twice for each small frame
_new_tuple: Final = tuple.__new__
_NOTHING: Final = Event(Opcode.CONTINUATION, b"")


class ProtocolError(Exception):
    """The client has sent what it must not. The text is fixed and never quotes what was sent."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        """1002, 1007 or 1009 (RFC 6455 section 7.4.1)."""
        super().__init__(text)


class Receiver:
    """Parses the bytes of one client.

    Holds what was fed and not yet taken, and of a message in fragments the bytes, never an object per fragment:
    at most ``max_message_bytes`` of fragments, and one frame of at most that (and its head) beside what one feed
    brings. A message above ``max_message_bytes`` is refused when the head of the frame that exceeds it has arrived.

    After a CLOSE event or a ProtocolError everything is discarded, also what is fed later.
    """

    __slots__ = ("_at", "_data", "_ended", "_fragments", "_max_message_bytes", "_opcode", "_valid", "frames")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._data: bytes | bytearray = b""
        self._at = 0  # where in _data the next frame begins
        self._opcode: Opcode | None = None  # of the message that has begun and not ended
        self._fragments: bytes | bytearray = b""
        self._valid = 0  # so many bytes of a text in fragments are known to be UTF-8
        self._ended = False
        self.frames = 0
        """Frames taken so far, those that gave no event included."""

    @property
    def pending(self) -> int:
        """Bytes that were fed and not taken: a rest that the budget left, or the beginning of a frame."""
        return len(self._data) - self._at

    def feed(self, data: bytes | memoryview) -> None:
        """Keep ``data`` behind what is pending. A memoryview is copied, so its buffer may be used again."""
        if self._ended or not data:
            return
        if not self.pending:
            self._data = bytes(data)
        elif isinstance(self._data, bytearray) and not self._at:
            self._data += data  # the rest of a frame that comes in many small pieces: not copied with each of them
        else:
            self._data = bytearray(memoryview(self._data)[self._at :])
            self._data += data
        self._at = 0

    def events(self, max_frames: int) -> Iterator[Event]:
        """Events, until ``max_frames`` frames are taken or nothing complete is left. May be abandoned at any event.

        ProtocolError as ``next_event``.
        """
        last = self.frames + max_frames
        while (event := self.next_event(last - self.frames)) is not None:
            yield event

    def next_event(self, max_frames: int) -> Event | None:
        """Take frames up to the next event. None when ``max_frames`` gave none, or nothing complete is left.

        ProtocolError as soon as a head, a message or what has arrived of a text in fragments breaks the rules. An
        incomplete frame does not count as taken.
        """
        for _ in range(max_frames):
            event = self._take_frame()
            if event is not _NOTHING:
                return event
        return None

    def _take_frame(self) -> Event | None:
        """Its event, _NOTHING for a part of a message, None where the frame is not complete."""
        data, at = self._data, self._at
        end = len(data)
        if end - at < _HEAD_BYTES:
            self._keep_rest()
            return None
        first, second = data[at], data[at + 1]
        opcode = _FIRST_BYTES.get(first)
        if opcode is None:
            raise self._error(_PROTOCOL_ERROR, _why_not(first))
        if second < _MASKED:
            raise self._error(_PROTOCOL_ERROR, "a frame that is not masked")
        length = second & _LENGTH
        start = at + _HEAD_BYTES
        if first & _CONTROL:
            if length > _MAX_CONTROL_BYTES:
                raise self._error(_PROTOCOL_ERROR, "a control frame above 125 bytes")
        else:
            if (opcode is _CONTINUATION) is (self._opcode is None):
                raise self._error(_PROTOCOL_ERROR, "a continuation of nothing, or a message within another")
            if length >= _TWO_BYTES:
                shortest = _MIN_LONG[length]
                start += 2 if length == _TWO_BYTES else 8
                if end < start:
                    self._keep_rest()
                    return None
                length = int.from_bytes(data[at + _HEAD_BYTES : start], "big")
                if not shortest <= length <= _MAX_LENGTH:
                    raise self._error(_PROTOCOL_ERROR, "a length in more bytes than it needs, or above 63 bits")
            if len(self._fragments) + length > self._max_message_bytes:
                raise self._error(_TOO_BIG, "a message above the limit")
        begin = start + _MASK_BYTES
        stop = begin + length
        if end < stop:
            self._keep_rest()
            return None
        payload = _unmasked(data[begin:stop], data[start:begin]) if length else b""
        self.frames += 1
        if stop == end:
            self._data, self._at = b"", 0
        else:
            self._at = stop
        if not first & _CONTROL:
            return self._take_data(opcode, first >= _FIN, payload)
        if opcode is _CLOSE:
            return self._take_close(payload)
        return _new_tuple(Event, (opcode, payload, "", NO_CODE))  # half the time of Event(opcode, payload)

    def _keep_rest(self) -> None:
        """Let go of the frames before an incomplete one: a client that falls silent now must not hold them."""
        if self._at:
            self._data, self._at = bytes(self._data[self._at :]), 0

    def _take_data(self, opcode: Opcode, is_last: bool, payload: bytes) -> Event:
        if opcode is not Opcode.CONTINUATION:
            if is_last:
                return Event(opcode, payload, self._text(payload)) if opcode is Opcode.TEXT else Event(opcode, payload)
            self._opcode, self._fragments, self._valid = opcode, bytearray(), 0
        begun = self._opcode
        assert begun is not None
        self._fragments += payload
        if begun is Opcode.TEXT:
            self._check_fragment()
        if not is_last:
            return _NOTHING
        payload = bytes(self._fragments)
        self._opcode, self._fragments = None, b""
        return Event(begun, payload, self._text(payload)) if begun is Opcode.TEXT else Event(begun, payload)

    def _check_fragment(self) -> None:
        """Refuse a text as soon as it can no longer become UTF-8. A character may be cut between two fragments."""
        try:
            self._valid += codecs.utf_8_decode(self._fragments[self._valid :], "strict", False)[1]
            return
        except UnicodeDecodeError:
            pass  # raised below, where the error does not carry this one, which holds the text
        raise self._error(_INVALID_DATA, "text that is not UTF-8")

    def _text(self, payload: bytes) -> str:
        try:
            return payload.decode()
        except UnicodeDecodeError:
            pass  # as in _check_fragment
        raise self._error(_INVALID_DATA, "text that is not UTF-8")

    def _take_close(self, payload: bytes) -> Event:
        """RFC 6455 section 5.5.1: nothing, or a code of two bytes and a reason."""
        if not payload:
            self._end()
            return Event(Opcode.CLOSE, payload)
        code = int.from_bytes(payload[:2], "big")
        if len(payload) == 1 or code not in _CODES:
            raise self._error(_PROTOCOL_ERROR, "a close code that must not be sent")
        reason = self._text(payload[2:])
        self._end()
        return Event(Opcode.CLOSE, payload, reason, code)

    def _error(self, code: int, text: str) -> ProtocolError:
        self._end()
        return ProtocolError(code, text)

    def _end(self) -> None:
        self._ended = True
        self._data, self._at, self._opcode, self._fragments = b"", 0, None, b""


def _why_not(first: int) -> str:
    if first & _RESERVED:
        return "a reserved bit"
    return "a control frame in parts" if first in map(int, Opcode) else "a reserved opcode"


def _unmasked(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    """RFC 6455 section 5.3, the whole payload at once: one XOR of two long integers."""
    size = len(payload)
    key = _from_bytes(mask * (size // _MASK_BYTES) + mask[: size % _MASK_BYTES], "little")
    return (_from_bytes(payload, "little") ^ key).to_bytes(size, "little")
