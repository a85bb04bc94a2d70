"""Last-known messages on their way to one socket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.core.limits import CHUNK_BYTES, REPLAY_LOOKS
from bridge.fanout.outbox import Policy
from bridge.protocol.frames import message_frame
from tests.unit.fanout.test_subscription import Case


def frame(number: int, device_id: str, payload: str = "{}") -> bytes:
    """The frame of one message."""
    return message_frame(f"k-{number}", device_id, payload.encode(), True)


def case() -> Case:
    """A subscription with room for many."""
    return Case(Policy.DROP_OLDEST, messages=100, frame_bytes=10**6)


def test_replay_is_written_as_the_transport_takes_it() -> None:
    """No frame is made before there is room for it."""
    one = case()
    made: list[str] = []

    def frames() -> Iterator[Sequence[bytes]]:
        for number in range(12):
            made.append(f"d{number}")
            yield [frame(number, f"d{number}", '"' + "x" * 10_000 + '"')]

    one.subscription.show(frames())
    assert made == []
    one.transport.stuck = True
    one.pump()
    assert len(made) == 5  # the chunk, and the frame that went past its end
    one.pump()
    assert len(made) == 5
    while one.subscription.replaying:
        one.transport.drain(stuck=True)
        one.pump()
    assert made == [f"d{number}" for number in range(12)]
    assert one.subscription.sent == one.tally.delivered == 12


def test_what_waits_live_goes_before_the_replay() -> None:
    """It is bounded and ages; last-known messages can wait."""
    one = case()
    one.subscription.show(iter([[frame(9, "B")]]))
    one.hold("A")
    assert one.pump() is False
    assert one.ids() == ["k-1", "k-9"]
    assert one.subscription.sent == 2


def test_live_messages_go_past_a_replay_that_waits() -> None:
    """While the transport takes data a turn is written at once, whatever is still to be shown."""
    one = case()
    one.subscription.show(iter([[frame(9, "B")]]))
    assert (one.subscription.ready, one.subscription.pending, one.subscription.replaying) == (True, True, True)


def test_asking_again_does_not_make_a_waiting_replay_longer() -> None:
    """A client that asks for the same snapshot ten thousand times, and does not read, waits for one."""
    one = case()
    one.transport.fill()
    for _ in range(10_000):
        one.subscription.show(iter([[frame(1, "A")], [frame(1, "B")]]))
        one.pump()
    one.transport.drain()
    assert one.pump() is False
    assert [each["device_id"] for each in one.transport.events()] == ["A", "B"]


def test_empty_replay_leaves_nothing_to_pump() -> None:
    """No devices, or devices of which nothing is known."""
    one = case()
    one.subscription.show(iter([]))
    assert one.pump() is False
    one.subscription.show(iter([[]]))
    assert one.pump() is False
    assert one.transport.writes == 0


def test_one_pump_is_bounded_work() -> None:
    """However many devices there are of which nothing is known, it looks at so many and comes again."""
    one = case()
    looked = 0

    def nothing() -> Iterator[Sequence[bytes]]:
        nonlocal looked
        for _ in range(3 * REPLAY_LOOKS):
            looked += 1
            yield ()

    one.subscription.show(nothing())
    assert one.pump() is True
    assert looked == REPLAY_LOOKS
    while one.pump():
        pass
    assert looked == 3 * REPLAY_LOOKS


def test_replay_waits_while_the_outbox_fills_the_chunk() -> None:
    """A queue that is one frame longer than the chunk leaves no room at all."""
    one = case()
    one.subscription.show(iter([[frame(9, "B")]]))
    one.hold("A", payload='"' + "x" * CHUNK_BYTES + '"')
    assert one.pump() is True
    assert one.ids() == ["k-1"]
    assert one.pump() is False
    assert one.ids() == ["k-9"]


def test_replay_that_cannot_be_written_counts_neither_as_sent_nor_as_lost() -> None:
    """It was no news."""
    one = case()
    one.subscription.show(iter([[frame(9, "B")]]))
    one.transport.broken = True
    assert one.pump() is False
    assert (one.counts(), one.owner.told) == ((0, 0, 0), ["failed"])
