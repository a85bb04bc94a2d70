"""Last-known messages on their way to one socket."""

from __future__ import annotations

from bridge.core.limits import CHUNK_BYTES
from bridge.core.telemetry import Telemetry
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.subscription import Subscription
from bridge.protocol.frames import message_frame
from tests.fakes import Owner, Transport, event

NOW = 1_900_000_000.0


def frame(number: int, message: Telemetry) -> bytes:
    """The frame of one message."""
    return message_frame(f"k-{number}", message.device_id, message.payload, True)


class Case:
    """A subscription that gets last-known messages."""

    def __init__(self) -> None:
        self.transport = Transport()
        limits = OutboxLimits(100, 10**6, Policy.DROP_OLDEST)
        self.subscription = Subscription(self.transport, limits, Owner())

    def hold(self, *messages: Telemetry) -> None:
        """Queue live messages, as a cohort does that has counted them."""
        written = self.subscription.counter() + len(messages)
        self.subscription.counter = lambda: written
        self.subscription.hold([(message, frame(1, message)) for message in messages], NOW)

    def ids(self) -> list[object]:
        return [one["id"] for one in self.transport.events()]


def test_replay_is_written_as_the_transport_takes_it() -> None:
    """No frame is made before there is room for it."""
    case = Case()
    case.transport.stuck = True
    made: list[str] = []

    def frames(device_id: str) -> list[bytes]:
        made.append(device_id)
        return [frame(len(made), event(device_id, '"' + "x" * 10_000 + '"'))]

    case.subscription.replay([f"d{number}" for number in range(12)], frames)
    assert made == []
    assert case.subscription.pump(NOW, 0.0) is True
    assert len(made) == 5  # the chunk, and the frame that went past its end
    assert case.subscription.pump(NOW, 0.0) is True
    assert len(made) == 5
    while case.subscription.pump(NOW, 0.0):
        case.transport.buffered = 0
    assert made == [f"d{number}" for number in range(12)]
    assert case.subscription.sent == 12


def test_what_waits_live_goes_before_the_replay() -> None:
    """It is bounded and ages; last-known messages can wait."""
    case = Case()
    case.subscription.replay(["B"], lambda device_id: [frame(9, event(device_id))])
    case.hold(event("A"))
    assert case.subscription.pump(NOW, 0.0) is False
    assert case.ids() == ["k-1", "k-9"]
    assert case.subscription.sent == 2


def test_asking_again_does_not_make_a_waiting_replay_longer() -> None:
    """A client that asks for the same snapshot ten thousand times, and does not read, waits for one."""
    case = Case()
    case.transport.buffered = CHUNK_BYTES
    for _ in range(10_000):
        case.subscription.replay(["A", "B"], lambda device_id: [frame(1, event(device_id))])
        assert case.subscription.pump(NOW, 0.0)
    case.transport.buffered = 0
    assert case.subscription.pump(NOW, 0.0) is False
    assert [one["device_id"] for one in case.transport.events()] == ["A", "B"]


def test_empty_replay_leaves_nothing_to_pump() -> None:
    """No devices, or devices of which nothing is known."""
    case = Case()
    case.subscription.replay([], lambda device_id: [])
    assert case.subscription.pump(NOW, 0.0) is False
    case.subscription.replay(["A"], lambda device_id: [])
    assert case.subscription.pump(NOW, 0.0) is False
    assert case.transport.writes == 0


def test_replay_waits_while_the_outbox_fills_the_chunk() -> None:
    """A queue that is one frame longer than the chunk leaves no room at all."""
    case = Case()
    case.subscription.replay(["B"], lambda device_id: [frame(9, event(device_id))])
    case.hold(event("A", '"' + "x" * CHUNK_BYTES + '"'))
    assert case.subscription.pump(NOW, 0.0) is True
    assert case.ids() == ["k-1"]
    assert case.subscription.pump(NOW, 0.0) is False
    assert case.ids() == ["k-9"]
