"""What a Receiver makes of a client's bytes: its limits, its budget, and what it holds meanwhile."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest

from bridge.protocol.receiving import NO_CODE, Event, Opcode, ProtocolError, Receiver
from tests.autobahn import ClientFrame

LIMIT = 16_384
HELLO = ClientFrame(Opcode.TEXT, b"hello").encode()
PING = ClientFrame(Opcode.PING, b"p").encode()


def frame(opcode: Opcode, payload: bytes = b"", fin: bool = True) -> bytes:
    """One masked frame."""
    return ClientFrame(opcode, payload, fin).encode()


def fed(data: bytes, max_message_bytes: int = LIMIT) -> Receiver:
    """A receiver that has ``data`` pending."""
    receiver = Receiver(max_message_bytes)
    receiver.feed(data)
    return receiver


def refusal(receiver: Receiver) -> ProtocolError:
    """The error that the next frames bring."""
    with pytest.raises(ProtocolError) as caught:
        list(receiver.events(1_000_000))
    return caught.value


def test_each_kind_of_event_says_what_it_is() -> None:
    """Text, binary, ping, pong and close, with what belongs to each."""
    data = (
        frame(Opcode.TEXT, "ä".encode())
        + frame(Opcode.BINARY, b"\xff")
        + PING
        + frame(Opcode.PONG)
        + frame(Opcode.CLOSE, b"\x03\xe9bye")
    )
    assert list(fed(data).events(10)) == [
        Event(Opcode.TEXT, "ä".encode(), "ä"),
        Event(Opcode.BINARY, b"\xff"),
        Event(Opcode.PING, b"p"),
        Event(Opcode.PONG, b""),
        Event(Opcode.CLOSE, b"\x03\xe9bye", "bye", 1001),
    ]
    assert list(fed(frame(Opcode.CLOSE)).events(1)) == [Event(Opcode.CLOSE, b"", "", NO_CODE)]


def test_budget_counts_frames_and_leaves_the_rest() -> None:
    """Empty fragments, which give no event, are counted too; what the budget left is taken by the next call."""
    data = frame(Opcode.TEXT, b"", fin=False) + frame(Opcode.CONTINUATION, b"", fin=False) * 7 + PING * 2
    receiver = fed(data)
    assert list(receiver.events(5)) == []
    assert (receiver.frames, receiver.pending) == (5, len(data) - 5 * 6)
    assert receiver.next_event(0) is None
    assert [event.opcode for event in receiver.events(4)] == [Opcode.PING]
    assert (receiver.frames, receiver.pending) == (9, len(PING))
    assert [event.opcode for event in receiver.events(4)] == [Opcode.PING]
    assert (receiver.frames, receiver.pending) == (10, 0)


def test_loop_may_be_left_at_any_event() -> None:
    """The events that were not taken come with the next loop."""
    receiver = fed(PING + HELLO + PING)
    for event in receiver.events(10):
        assert event.opcode is Opcode.PING
        break
    assert [event.opcode for event in receiver.events(10)] == [Opcode.TEXT, Opcode.PING]


def test_rest_may_be_fed_upon() -> None:
    """More bytes stand behind those that are pending, wherever the budget stopped."""
    receiver = fed(PING * 3 + HELLO[:4])
    assert len(list(receiver.events(2))) == 2
    receiver.feed(HELLO[4:])
    receiver.feed(PING)
    assert [event.opcode for event in receiver.events(10)] == [Opcode.PING, Opcode.TEXT, Opcode.PING]


def test_buffer_may_be_used_again() -> None:
    """What was fed as a view is copied: the caller reads the next client into the same buffer."""
    buffer = bytearray(HELLO)
    receiver = Receiver(LIMIT)
    for part in (memoryview(buffer)[:3], memoryview(buffer)[3:7], memoryview(buffer)[7:]):
        receiver.feed(part)
    buffer[:] = bytes(len(buffer))
    assert [event.text for event in receiver.events(1)] == ["hello"]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 125, 126, 127, LIMIT])
@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"])
def test_any_length_is_unmasked(size: int, mask: bytes) -> None:
    """The key is repeated to the payload's length, whatever that leaves over (RFC 6455 section 5.3)."""
    payload = bytes(at % 251 for at in range(size))
    data = ClientFrame(Opcode.BINARY, payload).encode(mask)
    assert list(fed(data).events(1)) == [Event(Opcode.BINARY, payload)]


@pytest.mark.parametrize("parts", [[LIMIT], [LIMIT - 1, 1], [1, LIMIT - 1], [LIMIT, 0], [0, LIMIT], [0, LIMIT, 0]])
def test_message_at_the_limit_is_taken(parts: list[int]) -> None:
    """Sixteen KiB exactly, in one frame or in fragments, with control frames between them."""
    data = b"".join(
        frame(Opcode.CONTINUATION if at else Opcode.BINARY, bytes(size), fin=at == len(parts) - 1)
        + frame(Opcode.PING, bytes(125))
        for at, size in enumerate(parts)
    )
    events = [event for event in fed(data).events(100) if event.opcode is Opcode.BINARY]
    assert events == [Event(Opcode.BINARY, bytes(LIMIT))]


@pytest.mark.parametrize("parts", [[LIMIT + 1], [LIMIT, 1], [1, LIMIT], [0, LIMIT + 1], [1 << 62]])
def test_message_above_the_limit_is_refused_from_its_head(parts: list[int]) -> None:
    """1009 before a byte of the last frame's payload, or even its key, has arrived."""
    *before, last = parts
    data = b"".join(
        frame(Opcode.CONTINUATION if at else Opcode.BINARY, bytes(size), fin=False) for at, size in enumerate(before)
    )
    width = 0 if last < 126 else 2 if last < 1 << 16 else 8
    head = bytes((Opcode.CONTINUATION if before else Opcode.BINARY, 0x80 | {0: last, 2: 126, 8: 127}[width]))
    receiver = fed(data + head + (last.to_bytes(width, "big") if width else b""))
    assert refusal(receiver).code == 1009
    assert receiver.frames == len(before)


@pytest.mark.parametrize("limit, size, taken", [(0, 0, True), (0, 1, False), (1, 1, True), (1, 2, False)])
def test_smallest_limits_hold(limit: int, size: int, taken: bool) -> None:
    """A limit of nothing still lets empty messages and control frames pass."""
    receiver = fed(PING + frame(Opcode.TEXT, b"x" * size), limit)
    assert receiver.next_event(1) == Event(Opcode.PING, b"p")
    if taken:
        assert receiver.next_event(1) == Event(Opcode.TEXT, b"x" * size, "x" * size)
    else:
        assert refusal(receiver).code == 1009


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
def test_length_of_64_bits_is_a_protocol_error(length: int) -> None:
    """The most significant bit must be 0 (RFC 6455 section 5.2): 1002, not 1009."""
    assert refusal(fed(b"\x82\xff" + length.to_bytes(8, "big"))).code == 1002


def test_message_counts_anew() -> None:
    """The bytes of one message do not stand against the next."""
    once = frame(Opcode.BINARY, bytes(LIMIT // 2), fin=False) + frame(Opcode.CONTINUATION, bytes(LIMIT // 2))
    assert [len(event.payload) for event in fed(once * 3).events(6)] == [LIMIT] * 3


@pytest.mark.parametrize("end", [frame(Opcode.CLOSE), b"\x81\x00"], ids=["close", "fault"])
def test_nothing_comes_after_the_end(end: bytes) -> None:
    """What follows a Close frame or a fault is discarded, and not kept either."""
    receiver = fed(HELLO[:3])
    receiver.feed(HELLO[3:] + end + PING)
    try:
        list(receiver.events(10))
    except ProtocolError:
        assert end == b"\x81\x00"
    receiver.feed(PING * 100)
    assert (receiver.next_event(10), receiver.pending) == (None, 0)


@pytest.mark.parametrize(
    "data",
    [
        frame(Opcode.TEXT, b"secret\xff"),
        frame(Opcode.TEXT, b"secret\xff", fin=False),
        frame(Opcode.CLOSE, b"\x03\xe8secret\xff"),
        frame(Opcode.PING, b"secret" * 30),
    ],
)
def test_error_quotes_nothing(data: bytes) -> None:
    """Neither its text nor an exception behind it holds what the client has sent."""
    error = refusal(fed(data))
    assert "secret" not in str(error)
    assert error.__context__ is None
    assert error.__cause__ is None


def test_error_comes_after_the_events_before_it() -> None:
    """Frames before the fault are events; the fault is not counted as a frame."""
    receiver = fed(HELLO + PING + b"\x81\x00")
    assert [receiver.next_event(9), receiver.next_event(9)] == [
        Event(Opcode.TEXT, b"hello", "hello"),
        Event(Opcode.PING, b"p"),
    ]
    assert refusal(receiver).code == 1002
    assert receiver.frames == 2


def bytes_held(receiver: Receiver, data: bytes, chunk_bytes: int) -> int:
    """What ``receiver`` holds more, once ``data`` was fed and taken."""
    gc.collect()
    tracemalloc.start()
    try:
        for at in range(0, len(data), chunk_bytes):
            receiver.feed(memoryview(data)[at : at + chunk_bytes])
            for _ in receiver.events(chunk_bytes):
                pass
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_silent_client_costs_little() -> None:
    """Less than 200 bytes before the first frame, and no more after it has been taken."""
    receiver = Receiver(LIMIT)
    assert sys.getsizeof(receiver) < 200
    assert bytes_held(receiver, HELLO * 100, 1000) < 1000


def test_one_byte_of_the_next_frame_does_not_hold_those_before() -> None:
    """A client that falls silent within a frame holds the beginning of that frame only."""
    receiver = Receiver(LIMIT)
    assert bytes_held(receiver, PING * 2000 + PING[:1], LIMIT) < 1000
    assert receiver.pending == 1


@pytest.mark.parametrize("payload, held_bytes", [(b"", 1_000), (b"x", 2 * LIMIT)])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_fragments_cost_bytes_and_not_objects(opcode: Opcode, payload: bytes, held_bytes: int) -> None:
    """16,384 fragments are one buffer, of what they hold; empty ones are nothing."""
    receiver = Receiver(LIMIT)
    data = frame(opcode, b"", fin=False) + frame(Opcode.CONTINUATION, payload, fin=False) * LIMIT
    assert bytes_held(receiver, data, LIMIT) < held_bytes
    receiver.feed(frame(Opcode.CONTINUATION))
    event = receiver.next_event(1)
    assert event is not None
    assert event.payload == payload * LIMIT
    assert receiver.frames == LIMIT + 2


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_bytes_one_at_a_time_are_the_same_message(size: int) -> None:
    """A frame is given with its last byte and not before."""
    receiver = Receiver(1 << 17)
    data = frame(Opcode.BINARY, b"x" * size)
    for at in range(len(data)):
        assert receiver.next_event(9) is None
        receiver.feed(data[at : at + 1])
    assert receiver.next_event(9) == Event(Opcode.BINARY, b"x" * size)


def test_character_cut_between_fragments_is_text() -> None:
    """A text is checked as it comes, but no character is refused because its end has not come yet."""
    data = "€".encode()
    sent = frame(Opcode.TEXT, data[:1], fin=False) + frame(Opcode.CONTINUATION, data[1:2], fin=False) + PING
    receiver = fed(sent + frame(Opcode.CONTINUATION, data[2:]))
    assert list(receiver.events(9)) == [Event(Opcode.PING, b"p"), Event(Opcode.TEXT, data, "€")]
