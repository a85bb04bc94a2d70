"""The Receiver against the receiving half of another project, on frames that nobody thought of."""

from __future__ import annotations

import codecs

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame
from websockets.frames import Opcode as Op
from websockets.protocol import Protocol, Side, State

from bridge.protocol.receiving import Opcode, ProtocolError, Receiver
from tests.autobahn import ClientFrame

Outcome = tuple[list[tuple[int, bytes, int]], int | None]
"""Events (opcode, payload, close code), and the code of the fault that ended them."""

PAYLOADS = st.one_of(
    st.binary(max_size=8),
    st.text(max_size=8).map(str.encode),
    st.sampled_from(
        [b"\xe2\x82", b"\xac", b"\xf4", b"\x90", b"x" * 125, b"x" * 126, b"x" * 300, b"\x03\xe8bye", b"\x03\xec"]
    ),
)
OPCODES = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 8, 9, 9, 10, 10])
GOOD = st.builds(ClientFrame, OPCODES, PAYLOADS, st.booleans())
BAD = st.builds(ClientFrame, st.integers(0, 15), PAYLOADS, st.booleans(), st.integers(0, 7), st.booleans())
SEQUENCES = st.lists(st.one_of(GOOD, GOOD, GOOD, GOOD, BAD), max_size=12)
MASKS = st.binary(min_size=4, max_size=4)


def by_websockets(data: bytes, max_message_bytes: int | None = None) -> Outcome:
    """What websockets makes of ``data``. Its sans-I/O half leaves it to others to join fragments and decode text."""
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=max_message_bytes)
    protocol.receive_data(data)
    events: list[tuple[int, bytes, int]] = []
    begun, message, decoder = 0, b"", codecs.getincrementaldecoder("utf-8")()
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        payload = bytes(frame.data)
        if frame.opcode in (Op.PING, Op.PONG, Op.CLOSE):
            events.append((frame.opcode, payload, Close.parse(payload).code if frame.opcode is Op.CLOSE else 1005))
            continue
        if frame.opcode is not Op.CONT:
            begun, message, decoder = frame.opcode, b"", codecs.getincrementaldecoder("utf-8")()
        message += payload
        if begun == Op.TEXT:
            try:
                decoder.decode(payload, frame.fin)
            except UnicodeDecodeError:
                return events, 1007
        if frame.fin:
            events.append((begun, message, 1005))
    if protocol.parser_exc is None:
        return events, None
    if str(protocol.parser_exc) == "incomplete fragmented message":
        # Its own rule: RFC 6455 section 5.4 lets control frames, and so a Close frame, stand within a message.
        assert protocol.close_rcvd is not None
        payload = b"" if protocol.close_rcvd.code == 1005 else protocol.close_rcvd.serialize()
        return [*events, (Op.CLOSE, payload, protocol.close_rcvd.code)], None
    assert protocol.close_sent is not None
    return events, protocol.close_sent.code


def by_receiver(data: bytes, cuts: list[int], budgets: list[int], max_message_bytes: int = 1 << 20) -> Outcome:
    """What the Receiver makes of ``data``, fed in pieces and taken by budgets, both repeated as need be."""
    receiver = Receiver(max_message_bytes)
    events: list[tuple[int, bytes, int]] = []
    turn = 0
    try:
        while data:
            size = cuts[turn % len(cuts)]
            receiver.feed(memoryview(data)[:size])
            data = data[size:]
            before = -1
            while receiver.frames != before:
                before = receiver.frames
                for event in receiver.events(budgets[turn % len(budgets)]):
                    said = {Opcode.TEXT: event.payload, Opcode.CLOSE: event.payload[2:]}.get(event.opcode, b"")
                    assert event.text.encode() == said
                    events.append((event.opcode, event.payload, event.code))
                turn += 1
                assert receiver.frames - before <= max(budgets)
            turn += 1
    except ProtocolError as error:
        return events, error.code
    return events, None


CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=5) | st.just([1_000_000])
BUDGETS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@given(SEQUENCES, MASKS, CUTS, BUDGETS)
def test_frames_mean_the_same_to_both(
    frames: list[ClientFrame], mask: bytes, cuts: list[int], budgets: list[int]
) -> None:
    """Valid or not: the same events, then the same close code, whatever the chunks and the budgets."""
    data = b"".join(frame.encode(mask) for frame in frames)
    assert by_receiver(data, cuts, budgets) == by_websockets(data)


MESSAGES = st.lists(st.tuples(st.sampled_from([1, 2]), st.lists(PAYLOADS, min_size=1, max_size=5)), max_size=5)


@given(MESSAGES, CUTS, BUDGETS)
def test_limit_means_the_same_to_both(
    messages: list[tuple[int, list[bytes]]], cuts: list[int], budgets: list[int]
) -> None:
    """Messages below, at and above a limit. No frame has two faults: either could be the answer."""
    data = b"".join(
        ClientFrame(0 if at else opcode, payload, fin=at == len(payloads) - 1).encode()
        for opcode, payloads in messages
        for at, payload in enumerate(payloads)
    )
    assert by_receiver(data, cuts, budgets, 300) == by_websockets(data, 300)


@given(st.binary(max_size=300), CUTS, BUDGETS)
def test_chunks_do_not_matter_to_noise(data: bytes, cuts: list[int], budgets: list[int]) -> None:
    """Any bytes give the same outcome at once and in pieces."""
    assert by_receiver(data, cuts, budgets) == by_receiver(data, [len(data) or 1], [1_000_000])


def test_opcodes_are_those_of_the_standard() -> None:
    """Ours and theirs have the same numbers."""
    assert [opcode.value for opcode in Opcode] == [opcode.value for opcode in Op]
