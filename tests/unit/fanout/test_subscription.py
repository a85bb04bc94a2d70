"""One socket, as the broker sees it: bounded, in order, every message accounted for."""

from __future__ import annotations

import pytest

from bridge.core.limits import CHUNK_BYTES, LOW_WATER_BYTES, WRITE_SECONDS
from bridge.core.telemetry import Telemetry
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.subscription import EPISODE_SECONDS, MOST_PATIENCE_SECONDS, Entry, Subscription
from bridge.protocol.frames import message_frame
from tests.fakes import Owner, Transport, event, position

NOW = 1_900_000_000.0


def entry(number: int, message: Telemetry) -> Entry:
    """A message and its frame."""
    return message, message_frame(f"k-{number}", message.device_id, message.payload, False)


class Case:
    """A subscription with everything around it."""

    def __init__(self, policy: Policy = Policy.LATEST, messages: int = 3, frame_bytes: int = 100_000) -> None:
        self.transport = Transport()
        self.owner = Owner()
        self.subscription = Subscription(self.transport, OutboxLimits(messages, frame_bytes, policy), self.owner)

    def hold(self, *messages: Telemetry, first: int = 1, now: float = NOW) -> None:
        """What a cohort does when the transport cannot take a turn's messages."""
        count = len(messages)
        written = self.subscription.counter() + count
        self.subscription.counter = lambda: written
        self.subscription.hold([entry(first + number, message) for number, message in enumerate(messages)], now)

    def counts(self) -> tuple[int, int, int]:
        return self.subscription.sent, self.subscription.dropped, self.subscription.conflated


def ids(events: list[dict[str, object]]) -> list[object]:
    """The message ids, and the names of other events."""
    return [one.get("id", one["event"]) for one in events]


def test_new_subscription_holds_nothing() -> None:
    """A socket that keeps up needs no outbox: 10,000 of them cost nothing."""
    case = Case()
    assert case.subscription.outbox is None
    assert not case.subscription.behind
    assert case.counts() == (0, 0, 0)
    assert case.subscription.waiting == (0, 0)
    assert case.subscription.peak == 0
    assert case.subscription.pump(NOW, 0.0) is False
    assert case.transport.writes == 0


def test_held_messages_are_written_in_one_go_and_in_order() -> None:
    """When the transport has room again; then the outbox is gone."""
    case = Case()
    case.hold(event("A"), event("B"), event("A"))
    assert case.subscription.behind
    assert case.subscription.waiting[0] == 3
    assert case.counts() == (0, 0, 0)
    assert case.subscription.pump(NOW, 0.0) is False
    assert case.transport.writes == 1
    assert ids(case.transport.events()) == ["k-1", "k-2", "k-3"]
    assert case.counts() == (3, 0, 0)
    assert case.subscription.outbox is None
    assert case.owner.told == []


def test_gap_is_told_before_the_messages_that_follow_it() -> None:
    """Count, devices and since when: the client knows of the loss before it sees the newer values."""
    case = Case(messages=2)
    case.hold(position("A"), position("A"), event("B"), event("C"))
    assert case.counts() == (0, 1, 1)
    assert case.subscription.pump(NOW + 5, 0.0) is False
    gap, *messages = case.transport.events()
    assert gap["event"] == "gap"
    assert gap["data"] == {
        "count": 2, "dropped": 1, "conflated": 1, "devices": {"A": 2}, "since": "2030-03-17T17:46:40.000Z",
    }  # fmt: skip
    assert ids(messages) == ["k-3", "k-4"]
    assert case.counts() == (2, 1, 1)


def test_gap_is_told_once() -> None:
    """The next one counts from the last, also within one episode."""
    case = Case(messages=2, frame_bytes=10**6)
    big = '"' + "x" * CHUNK_BYTES + '"'
    case.hold(event("A", big), event("B", big), event("C", big))
    assert case.subscription.pump(NOW, 0.0) is True
    assert ids(case.transport.events()) == ["gap", "k-2"]
    case.hold(event("D"), event("E"), first=4)
    assert case.subscription.pump(NOW, 0.0) is False
    second, *messages = case.transport.events()
    assert (second["data"]["count"], second["data"]["devices"]) == (1, {"C": 1})
    assert ids(messages) == ["k-4", "k-5"]
    assert case.counts() == (3, 2, 0)


def test_episode_of_overflow_is_told_once_and_ends_after_a_minute_without_loss() -> None:
    """One log line per episode: not one per message, not one whenever the outbox was empty, and not one for ever."""
    case = Case(messages=1)
    case.hold(event("A"), event("B"), event("C"))
    assert case.owner.told == ["overflowing B"]
    case.subscription.pump(NOW, 0.0)
    case.hold(event("D"), event("E"))
    assert case.owner.told == ["overflowing B"]
    case.subscription.pump(NOW, 0.0)
    case.hold(event("F"), event("G"), now=NOW + EPISODE_SECONDS + 1)
    assert case.owner.told == ["overflowing B", "overflowing G"]


def test_conflation_alone_is_no_overflow() -> None:
    """Newest value wins is what ``latest`` is for; nobody is warned."""
    case = Case()
    case.hold(*[position("A")] * 50)
    assert case.owner.told == []
    assert case.counts() == (0, 0, 49)


def test_disconnect_closes_the_socket_and_counts_the_rest() -> None:
    """Under ``disconnect`` the owner is told; what was not queued is dropped and counted."""
    case = Case(Policy.DISCONNECT, messages=1)
    case.hold(event("A"), event("B"), event("C"))
    assert case.owner.told == ["overflowed"]
    assert case.counts() == (0, 2, 0)
    assert case.subscription.waiting[0] == 1


@pytest.mark.parametrize("policy", list(Policy))
def test_frame_above_the_bound_is_lost_and_told(policy: Policy) -> None:
    """Also when nothing else waits: the outbox is empty then, the account is not."""
    case = Case(policy, frame_bytes=1000)
    case.hold(event("A", '"' + "x" * 1000 + '"'))
    assert case.counts() == (0, 1, 0)
    assert case.subscription.pump(NOW, 0.0) is False
    (gap,) = case.transport.events()
    assert gap["data"]["devices"] == {"A": 1}
    assert case.counts() == (0, 1, 0)


# --- the transport ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffered, writes", [(0, 1), (LOW_WATER_BYTES, 1), (LOW_WATER_BYTES + 1, 0), (CHUNK_BYTES, 0)])
def test_nothing_is_written_until_the_transport_has_nearly_caught_up(buffered: int, writes: int) -> None:
    """So that chunks stay large and slowness shows here and not in the transport's buffer."""
    case = Case()
    case.hold(event("A"))
    case.transport.buffered = buffered
    assert case.subscription.pump(NOW, 0.0) is (not writes)
    assert case.transport.writes == writes


def test_transport_never_holds_more_than_a_chunk() -> None:
    """Frames smaller than a chunk: what is written goes up to the chunk and not past it, gap event aside."""
    case = Case(Policy.DROP_OLDEST, messages=1000, frame_bytes=10**7)
    case.transport.stuck = True
    case.hold(*[event("A", '"' + "x" * 990 + '"')] * 500)
    while case.subscription.pump(NOW, 0.0):
        assert case.transport.buffered <= CHUNK_BYTES
        case.transport.buffered = max(case.transport.buffered - 10_000, 0)
    assert CHUNK_BYTES - 1100 < case.transport.peak <= CHUNK_BYTES
    assert ids(case.transport.events()) == [f"k-{number}" for number in range(1, 501)]


def test_socket_that_takes_nothing_is_stalled_after_the_write_limit() -> None:
    """Measured from the first look that found the buffer full, by the monotonic clock; progress starts it anew."""
    case = Case()
    case.hold(event("A"))
    case.transport.buffered = CHUNK_BYTES
    assert case.subscription.pump(NOW, 100.0)
    assert case.subscription.pump(NOW + 1e6, 100.0 + WRITE_SECONDS)
    assert case.owner.told == []
    case.transport.buffered = 0
    case.subscription.pump(NOW, 100.0 + WRITE_SECONDS)
    case.hold(event("A"))
    case.transport.buffered = CHUNK_BYTES
    assert case.subscription.pump(NOW, 200.0)
    assert case.subscription.pump(NOW, 200.0 + WRITE_SECONDS)
    assert case.owner.told == []
    assert case.subscription.pump(NOW, 200.0 + WRITE_SECONDS + 0.01)
    assert case.owner.told == ["stalled"]


def test_dead_socket_is_looked_at_ever_more_rarely() -> None:
    """As long to the next look as it has taken nothing, up to the limit of our patience; anew after progress."""
    case = Case()
    case.hold(event("A"))
    case.transport.buffered = CHUNK_BYTES
    for waited in (0.0, 0.01, 0.05, MOST_PATIENCE_SECONDS, 5.0):
        case.subscription.pump(NOW, 100.0 + waited)
        assert case.subscription.next_look == 100.0 + waited + min(waited, MOST_PATIENCE_SECONDS)
    case.transport.buffered = 0
    case.subscription.pump(NOW, 110.0)
    case.hold(event("A"))
    case.transport.buffered = CHUNK_BYTES
    case.subscription.pump(NOW, 111.0)
    assert case.subscription.next_look == 111.0


def test_closing_transport_is_never_written_to() -> None:
    """All that waits is given up, and counted as what it is: dropped."""
    case = Case(messages=2)
    case.hold(position("A"), position("A"), event("B"), event("C"))
    case.subscription.replay(["D"], lambda device_id: [b"frame"])
    case.transport.closing = True
    assert case.subscription.pump(NOW, 0.0) is False
    assert case.counts() == (0, 3, 1)
    assert case.subscription.peak == 2
    assert not case.subscription.behind
    assert case.transport.writes == 0


# --- the account -----------------------------------------------------------------------------------------------


def test_peak_is_remembered_after_the_outbox_is_gone() -> None:
    """It goes into the line at the stream's end."""
    case = Case()
    case.hold(event("A"), event("B"))
    assert case.subscription.peak == 2
    case.subscription.pump(NOW, 0.0)
    case.hold(event("A"))
    assert case.subscription.peak == 2


def test_losses_before_the_outbox_are_told_too() -> None:
    """Messages that the door had to drop: counted at once, told with the next write."""
    case = Case()
    case.subscription.lost({"A": 7}, False, NOW)
    assert case.subscription.behind
    assert case.counts() == (0, 7, 0)
    assert case.subscription.pump(NOW, 0.0) is False
    (gap,) = case.transport.events()
    assert (gap["data"]["dropped"], gap["data"]["devices"]) == (7, {"A": 7})
    assert case.counts() == (0, 7, 0)


def test_another_counter_does_not_change_the_count() -> None:
    """When the selection changes, what was sent before stays counted and what others got does not count."""
    case = Case()
    case.subscription.count_with(lambda: 100)
    assert case.subscription.sent == 0
    case.subscription.counter = lambda: 105
    assert case.subscription.sent == 5
    case.subscription.count_with(lambda: 7)
    assert case.subscription.sent == 5
    case.subscription.count_with(int)
    assert case.subscription.sent == 5
