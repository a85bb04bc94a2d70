"""One WebSocket in every state: over its budget, held up by its reader, closing, broken, gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from bridge.protocol.receiving import Event, Opcode, ProtocolError
from bridge.stream.limits import StreamLimits
from bridge.stream.websocket import WebSocket
from tests.autobahn import CLOSE, CONTINUATION, PING, PONG, TEXT, ClientFrame
from tests.fakes import Timers, frames_in

FRAMES, BYTES = 50, 4096
LIMITS = StreamLimits(
    frames_per_second=FRAMES, bytes_per_second=BYTES, close_seconds=2.0, write_seconds=30.0, linger_seconds=0.5
)
FLOODS = {
    "pongs": ClientFrame(PONG).encode(),
    "pings": ClientFrame(PING).encode(),
    "continuations": ClientFrame(CONTINUATION, fin=False).encode(),
    "fragments": ClientFrame(CONTINUATION, b"x", fin=False).encode(),
    "texts": ClientFrame(TEXT).encode(),
}
BEGINNING = ClientFrame(TEXT, fin=False).encode()


class Transport(asyncio.Transport):
    """Takes what is written into a buffer that the test empties; gives what the test feeds while it is read from."""

    def __init__(self) -> None:
        super().__init__({"socket": socket.socket()})
        self.get_extra_info("socket").close()
        self.written = b""
        self.unwritten = 0
        self.reading = True
        self.ended = ""
        self.failing = False
        self.eof_error: Exception | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def write(self, data: Any) -> None:
        if self.failing:
            raise RuntimeError("the handle is closed")
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.eof_error is not None:
            raise self.eof_error
        self.ended = self.ended or "eof"

    def is_closing(self) -> bool:
        return self.ended in ("closed", "aborted")

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Peer:
    """A socket with its owner, its transport and its time."""

    def __init__(self, limits: StreamLimits = LIMITS) -> None:
        self.told: list[str] = []
        self.events: list[Event] = []
        self.timers = Timers()
        self.transport = Transport()
        self.answer: Callable[[Event], None] = lambda event: None
        self.socket = WebSocket(self.transport, self, limits, lambda: self.timers.now, self.timers)

    def received(self, event: Event) -> None:
        self.events.append(event)
        self.answer(event)

    def broken(self, error: ProtocolError) -> None:
        self.told.append(f"broken {error.code}")
        self.socket.close(error.code, "")

    def flooded(self) -> None:
        self.told.append("flooded")
        self.socket.close(1008, "")

    def paused(self) -> None:
        self.told.append("paused")

    def resumed(self) -> None:
        self.told.append("resumed")

    def gone(self) -> None:
        self.told.append("gone")

    def send(self, data: bytes) -> int:
        """As much of it as is read: the transport reads a buffer at a time, while it may."""
        sent = 0
        while self.transport.reading and not self.transport.is_closing() and sent < len(data):
            buffer = self.socket.get_buffer(-1)
            size = min(len(buffer), len(data) - sent)
            buffer[:size] = data[sent : sent + size]
            self.socket.buffer_updated(size)
            sent += size
        return sent

    def close_codes(self) -> list[int]:
        """Of the Close frames that were written."""
        frames = frames_in(self.transport.written)
        return [int.from_bytes(frame.data[:2], "big") for frame in frames if frame.opcode == CLOSE]


@pytest.fixture
def peer() -> Peer:
    """One that has said nothing yet."""
    return Peer()


# --- reading under a budget ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FLOODS)
def test_frames_of_any_kind_are_handled_at_the_budgets_pace(kind: str) -> None:
    """A ping behind N budgets of frames is answered in second N + 1, if the client is not too much over it."""
    peer = Peer()
    flood = FLOODS[kind]
    begun = BEGINNING if kind in ("continuations", "fragments") else b""
    peer.send(begun + flood * (2 * FRAMES) + ClientFrame(PING, b"last").encode())
    seen = []
    for _ in range(3):
        seen.append([event for event in peer.events if event.payload == b"last"] != [])
        assert len(peer.events) <= FRAMES * len(seen)
        peer.timers.advance(1.0)
    assert seen == [False, False, True]
    assert peer.told == []


def test_timer_that_is_early_counts_no_second_twice() -> None:
    """uvloop's timers are up to a millisecond early: one burst over the budget stays one second over it."""
    peer = Peer()
    peer.send(FLOODS["pongs"] * (FRAMES + 1))
    (timer,) = peer.timers.waiting
    for _ in range(5):  # not a millisecond has passed
        timer.callback()
        timer = peer.timers.waiting[-1]
    assert peer.told == []
    peer.timers.advance(1.1)
    assert peer.transport.reading


def test_client_that_is_behind_is_heard_before_more_is_written_to_it() -> None:
    """What waits to be written may fill the buffer at once, again and again: its commands must not wait for the end."""
    peer = Peer()
    peer.socket.pause_writing()
    peer.send(ClientFrame(PING, b"hear me").encode())
    assert peer.events == []
    peer.answer = lambda event: peer.told.append("heard")
    peer.socket.resume_writing()
    assert peer.told == ["paused", "heard", "resumed"]


@pytest.mark.parametrize("kind", FLOODS)
def test_over_its_budget_a_client_waits_and_is_closed_in_the_third_second(kind: str) -> None:
    """Nothing is read for the rest of each second, with one timer; three seconds in a row are a flood."""
    peer = Peer()
    peer.send(BEGINNING if kind in ("continuations", "fragments") else b"")
    read = []
    for _ in range(3):
        read.append(peer.send(FLOODS[kind] * 100_000))
        assert not peer.transport.reading
        assert peer.socket.reading_paused
        assert len(peer.timers.due) == 1
        peer.timers.advance(0.999)
        assert peer.send(FLOODS[kind]) == 0
        assert len(peer.events) <= FRAMES * len(read)
        peer.timers.advance(0.001)
    assert read[0] <= len(peer.socket.get_buffer(-1))
    assert sum(read[1:]) <= 2 * len(peer.socket.get_buffer(-1))
    assert peer.told == ["flooded"]
    assert peer.close_codes() == [1008]


@pytest.mark.parametrize("kind", FLOODS)
def test_unmasked_flood_ends_with_its_first_frame(peer: Peer, kind: str) -> None:
    """Whatever it is."""
    peer.send(bytes((FLOODS[kind][0], FLOODS[kind][1] & 0x7F)) * 1000)
    assert peer.told == ["broken 1002"]
    assert peer.events == []


def test_bytes_without_a_frame_are_a_flood_too(peer: Peer) -> None:
    """A message that comes in three seconds, a budget of bytes in each, and has not ended yet."""
    message = ClientFrame(TEXT, bytes(16_000)).encode()
    for second in range(3):
        assert peer.send(message[second * BYTES : (second + 1) * BYTES]) == BYTES
        assert not peer.transport.reading
        peer.timers.advance(1.0)
    assert peer.told == ["flooded"]
    assert peer.events == []


def test_honest_bursts_are_no_flood() -> None:
    """Forty commands at once and a command of 16 KiB, again and again: all of them at once, as long as it likes."""
    peer = Peer(StreamLimits())
    command = ClientFrame(TEXT, b'{"action":"subscribe","data":{"device_ids":["' + b"x" * 400 + b'"]}}').encode()
    large = ClientFrame(TEXT, b" " * 16 * 1024).encode()
    for second in range(1, 11):
        data = command * 40 + large
        assert peer.send(data) == len(data)
        assert len(peer.events) == 41 * second
        assert peer.transport.reading
        peer.timers.advance(1.0)
    assert peer.told == []


# --- a client that does not read --------------------------------------------------------------------------


def test_stalled_client_costs_no_timer(peer: Peer) -> None:
    """Nothing looks at it until it reads: it is the transport that says so."""
    peer.socket.pause_writing()
    assert peer.told == ["paused"]
    assert peer.timers.due == []
    peer.timers.advance(3600.0)
    assert peer.timers.due == []
    peer.socket.resume_writing()
    assert peer.told == ["paused", "resumed"]


def test_who_does_not_read_is_not_read_from(peer: Peer) -> None:
    """What it sends waits, a buffer of it at most, and is handled when it has read."""
    peer.answer = lambda event: peer.socket.pause_writing()
    ping = ClientFrame(PING, b"x").encode()
    peer.send(ping * 3)
    assert len(peer.events) == 1
    assert not peer.transport.reading
    assert peer.timers.due == []
    peer.answer = lambda event: None
    peer.socket.resume_writing()
    assert len(peer.events) == 3
    assert peer.transport.reading


def test_reader_that_comes_back_over_its_budget_still_waits(peer: Peer) -> None:
    """Both reasons not to read hold for themselves: the one that ends does not end the other."""
    peer.send(FLOODS["texts"] * (FRAMES * 2))
    peer.socket.pause_writing()
    peer.socket.resume_writing()
    assert not peer.transport.reading
    peer.socket.pause_writing()
    peer.timers.advance(1.0)
    assert len(peer.events) == FRAMES
    assert not peer.transport.reading
    peer.socket.resume_writing()
    assert len(peer.events) == 2 * FRAMES


# --- the end ----------------------------------------------------------------------------------------------


def test_reader_that_makes_progress_has_its_last_words(peer: Peer) -> None:
    """Looked at every ``close_seconds``, until all is written; then the connection is closed."""
    peer.transport.unwritten = 9000
    peer.socket.close(1013, "")
    for _ in range(8):
        peer.transport.unwritten -= 1000
        peer.timers.advance(2.0)
        assert peer.transport.ended == ""
    peer.transport.unwritten = 0
    peer.timers.advance(2.0)
    assert peer.transport.ended == "closed"


def test_reader_of_nothing_is_cut_after_close_seconds(peer: Peer) -> None:
    """It has had its time."""
    peer.transport.unwritten = 9000
    peer.socket.close(1013, "")
    peer.timers.advance(1.9)
    assert peer.transport.ended == ""
    peer.timers.advance(0.1)
    assert peer.transport.ended == "aborted"


def test_reader_of_a_trickle_is_cut_after_write_seconds(peer: Peer) -> None:
    """However it goes on."""
    peer.transport.unwritten = 9000
    peer.socket.close(1013, "")
    while not peer.transport.ended:
        peer.transport.unwritten -= 1
        peer.timers.advance(2.0)
    assert peer.transport.ended == "aborted"
    assert peer.timers.now == 30.0


def test_goodbye_of_the_client_ends_it_at_once(peer: Peer) -> None:
    """Its Close frame closes the connection; what it sends behind it is thrown away."""
    peer.answer = lambda event: peer.socket.close(1000, "")
    peer.send(ClientFrame(CLOSE).encode() + FLOODS["texts"])
    assert [event.opcode for event in peer.events] == [Opcode.CLOSE]
    assert peer.close_codes() == [1000]
    assert peer.transport.ended == "closed"


def test_broken_frame_is_told_before_the_sending_side_ends(peer: Peer) -> None:
    """What follows it is thrown away; ``linger_seconds`` later we have nothing more to say; then it is closed."""
    peer.send(FLOODS["texts"] + b"\xff\xff" + FLOODS["texts"] * 10)
    assert peer.told == ["broken 1002"]
    assert len(peer.events) == 1
    peer.send(FLOODS["texts"] * 10)
    assert len(peer.events) == 1
    peer.timers.advance(0.5)
    assert peer.transport.ended == "eof"
    peer.timers.advance(1.5)
    assert peer.transport.ended == "closed"


def test_sending_side_of_a_client_that_is_gone_ends_without_a_word(peer: Peer) -> None:
    """asyncio does not notice a reset while reading is paused, and raises when it is to shut the socket down."""
    peer.transport.eof_error = OSError(107, "Transport endpoint is not connected")
    peer.send(b"\xff\xff")
    peer.timers.advance(3.0)
    assert peer.transport.ended == "closed"


def test_close_over_the_budget_sets_no_second_timer(peer: Peer) -> None:
    """The rest of the second is waited for no more; the end comes when it has to."""
    peer.send(FLOODS["texts"] * (FRAMES * 2))
    peer.socket.close(1012, "")
    peer.socket.close(1001, "")
    peer.timers.advance(2.0)
    assert peer.close_codes() == [1012]
    assert peer.transport.ended == "closed"


@pytest.mark.parametrize("state", ["silent", "over budget", "paused", "closing", "broken", "corked"])
def test_lost_connection_leaves_nothing_behind(peer: Peer, state: str) -> None:
    """In whatever state it was: the owner hears it last and once, no timer acts, and nothing raises."""
    if state == "over budget":
        peer.send(FLOODS["texts"] * (FRAMES * 2))
    elif state == "paused":
        peer.socket.pause_writing()
    elif state == "closing":
        peer.socket.close(1001, "")
    elif state == "broken":
        peer.send(b"\xff\xff")
    elif state == "corked":
        peer.socket.cork(b"head")
    peer.transport.ended, peer.transport.failing = "closed", True
    peer.socket.connection_lost(None)
    assert peer.told[-1] == "gone"
    said, written = list(peer.told), peer.transport.written
    peer.socket.uncork()
    peer.socket.write(b"late")
    peer.socket.resume_writing()
    peer.socket.pause_writing()
    peer.socket.abort_if_stuck()
    peer.socket.abort()
    peer.timers.advance(100.0)
    assert (peer.told, peer.transport.written) == (said, written)
    assert peer.timers.due == []


def test_lost_tls_connection_has_no_socket(peer: Peer) -> None:
    """Between the loss of the connection and the last call an abort is harmless."""
    transport = Transport.__new__(Transport)
    asyncio.Transport.__init__(transport)
    transport.ended = ""
    socket_ = WebSocket(transport, peer, LIMITS, lambda: 0.0, peer.timers)
    socket_.abort()
    assert transport.ended == "aborted"


def test_write_to_a_closed_handle_is_no_error(peer: Peer) -> None:
    """uvloop raises before it says that the connection is gone."""
    peer.transport.failing = True
    peer.socket.write(b"x")
    peer.socket.close(1001, "")
    assert peer.transport.written == b""


def test_corked_frames_are_one_write(peer: Peer) -> None:
    """Head, hello, and even the last words of a stream that is refused at once."""
    peer.socket.cork(b"head")
    peer.socket.write(b"hello")
    assert peer.transport.written == b""
    peer.socket.close(1008, "")
    assert peer.transport.written.startswith(b"headhello\x88")
    peer.socket.uncork()
    assert peer.transport.written.count(b"head") == 1
