"""One socket, as the broker sees it: bounded, in order, every message accounted for."""

from __future__ import annotations

import pytest

from bridge.core.limits import CHUNK_BYTES, HIGH_WATER_BYTES
from bridge.core.telemetry import Kind
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.rendering import Entry
from bridge.fanout.subscription import EPISODE_SECONDS, Subscription, Tally
from bridge.protocol.frames import message_frame
from tests.fakes import Frames, Owner, Transport

NOW = 1_900_000_000.0
P, E = Kind.POSITION, Kind.EVENT


def entry(number: int, device_id: str, kind: Kind = E, payload: str = "{}") -> Entry:
    """One message."""
    return Entry(device_id, kind, message_frame(f"k-{number}", device_id, payload.encode(), False))


class Case:
    """A subscription with everything around it."""

    def __init__(self, policy: Policy = Policy.LATEST, messages: int = 3, frame_bytes: int = 100_000) -> None:
        self.transport = Transport()
        self.owner = Owner()
        self.tally = Tally()
        limits = OutboxLimits(messages, frame_bytes, policy)
        self.subscription = Subscription(self.transport.write, limits, self.owner, self.tally)
        self.subscription.renderer = Frames()
        self.transport.pause_writing = self.subscription.pause
        self.transport.resume_writing = self.subscription.resume

    def hold(self, devices: str, kind: Kind = E, *, first: int = 1, now: float = NOW, payload: str = "{}") -> None:
        """What a cohort does when the transport cannot take a turn's messages: one for each letter."""
        entries = [entry(first + number, device_id, kind, payload) for number, device_id in enumerate(devices)]
        self.subscription.hold(entries, now)

    def pump(self, now: float = NOW) -> bool:
        """Write what can be written; whether something is left that could be written next."""
        self.subscription.pump(now)
        return self.subscription.pending

    def counts(self) -> tuple[int, int, int]:
        return self.subscription.sent, self.subscription.dropped, self.subscription.conflated

    def ids(self) -> list[object]:
        """The message ids, and the names of other events, since the last call."""
        return [one.get("id", one["event"]) for one in self.transport.events()]


def test_new_subscription_holds_nothing() -> None:
    """A socket that keeps up needs no outbox: 10,000 of them cost nothing."""
    case = Case()
    assert case.subscription.outbox is None
    assert (case.subscription.ready, case.subscription.pending, case.tally.behind) == (True, False, 0)
    assert case.counts() == (0, 0, 0)
    assert case.subscription.waiting == (0, 0)
    assert case.subscription.peak == 0
    assert case.pump() is False
    assert case.transport.writes == 0


def test_held_messages_are_written_in_one_go_and_in_order() -> None:
    """When the transport has room again; then the outbox is gone."""
    case = Case()
    case.hold("ABA")
    assert (case.subscription.ready, case.subscription.pending, case.tally.behind) == (False, True, 1)
    assert case.subscription.waiting[0] == 3
    assert case.counts() == (0, 0, 0)
    assert case.pump() is False
    assert case.transport.writes == 1
    assert case.ids() == ["k-1", "k-2", "k-3"]
    assert case.counts() == (3, 0, 0)
    assert case.subscription.outbox is None
    assert (case.subscription.ready, case.tally.behind, case.tally.delivered) == (True, 0, 3)
    assert case.owner.told == []


def test_gap_is_told_before_the_messages_that_follow_it() -> None:
    """Count, devices and since when: the client knows of the loss before it sees the newer values."""
    case = Case(messages=2)
    case.hold("AA", P)
    case.hold("BC", E, first=3)
    assert case.counts() == (0, 1, 1)
    assert case.pump(NOW + 5) is False
    gap, *messages = case.transport.events()
    assert gap["event"] == "gap"
    assert gap["data"] == {
        "count": 2, "dropped": 1, "conflated": 1, "devices": {"A": 2}, "since": "2030-03-17T17:46:40.000Z",
    }  # fmt: skip
    assert [one["id"] for one in messages] == ["k-3", "k-4"]
    assert case.counts() == (2, 1, 1)


def test_gap_is_told_once() -> None:
    """The next one counts from the last, also within one episode."""
    case = Case(messages=2, frame_bytes=10**6)
    case.hold("ABC", payload='"' + "x" * CHUNK_BYTES + '"')
    case.transport.stuck = True
    assert case.pump() is False
    assert case.ids() == ["gap", "k-2"]
    case.hold("DE", first=4, now=NOW + 1)
    case.transport.drain()
    assert case.pump(NOW + 2) is False
    second, *messages = case.transport.events()
    assert (second["data"]["count"], second["data"]["devices"]) == (1, {"C": 1})
    assert second["data"]["since"] == "2030-03-17T17:46:40.000Z"  # when the first was written
    assert [one["id"] for one in messages] == ["k-4", "k-5"]
    assert case.counts() == (3, 2, 0)


def test_episode_of_overflow_is_told_once_and_ends_after_a_minute_without_loss() -> None:
    """One log line per episode: not one per message, not one whenever the outbox was empty, and not one for ever."""
    case = Case(messages=1)
    case.hold("ABC")
    assert case.owner.told == ["overflowing B"]
    case.pump()
    case.hold("DE")
    assert case.owner.told == ["overflowing B"]
    case.pump()
    case.hold("FG", now=NOW + EPISODE_SECONDS + 1)
    assert case.owner.told == ["overflowing B", "overflowing G"]


def test_conflation_alone_is_no_overflow() -> None:
    """Newest value wins is what ``latest`` is for; nobody is warned."""
    case = Case()
    case.hold("A" * 50, P)
    assert case.owner.told == []
    assert case.counts() == (0, 0, 49)
    assert case.tally.conflated == 49


def test_disconnect_closes_the_socket_and_counts_the_rest() -> None:
    """Under ``disconnect`` the owner hears of it; what was not queued is dropped and counted."""
    case = Case(Policy.DISCONNECT, messages=1)
    case.hold("ABC")
    assert case.owner.told == ["overflowed"]
    assert case.counts() == (0, 2, 0)
    assert case.tally.dropped == 2
    assert case.subscription.waiting[0] == 1


@pytest.mark.parametrize("policy", list(Policy))
def test_frame_above_the_bound_is_lost_and_told(policy: Policy) -> None:
    """Also when nothing else waits: the outbox is empty then, the account is not."""
    case = Case(policy, frame_bytes=1000)
    case.hold("A", payload='"' + "x" * 1000 + '"')
    assert case.counts() == (0, 1, 0)
    assert case.pump() is False
    (gap,) = case.transport.events()
    assert gap["data"]["devices"] == {"A": 1}
    assert case.counts() == (0, 1, 0)


# --- the transport ------------------------------------------------------------------------------------------


def test_nothing_is_written_until_the_transport_has_nearly_caught_up() -> None:
    """So that chunks stay large and slowness shows here and not in the transport's buffer; it costs no look."""
    case = Case()
    case.transport.fill()
    assert case.subscription.ready is False
    case.hold("A")
    assert case.subscription.pending is False
    case.pump()
    assert case.transport.writes == 0
    case.transport.drain()
    assert case.subscription.pending is True
    assert case.subscription.ready is False  # what waits goes first
    assert case.pump() is False
    assert case.ids() == ["k-1"]
    assert case.subscription.ready is True


def test_transport_never_holds_more_than_its_high_water_mark_and_a_chunk() -> None:
    """Frames smaller than a chunk: what is written goes up to the chunk and not past it, gap event aside."""
    case = Case(Policy.DROP_OLDEST, messages=1000, frame_bytes=10**7)
    case.hold("A" * 500, payload='"' + "x" * 990 + '"')
    case.transport.stuck = True
    while case.subscription.outbox is not None:
        case.pump()
        case.transport.drain(stuck=True)
    assert CHUNK_BYTES - 1100 < case.transport.peak <= CHUNK_BYTES
    assert case.ids() == [f"k-{number}" for number in range(1, 501)]


def test_pause_in_the_midst_of_what_waits_ends_the_writing() -> None:
    """The transport says that it has enough within the write itself: the rest waits for it."""
    case = Case(Policy.DROP_OLDEST, messages=1000, frame_bytes=10**7)
    case.hold("A" * 200, payload='"' + "x" * 990 + '"')
    case.transport.stuck = True
    assert case.pump() is False
    assert HIGH_WATER_BYTES < case.transport.buffered <= CHUNK_BYTES
    assert case.transport.writes == 1
    case.pump()
    assert case.transport.writes == 1
    assert case.subscription.sent + case.subscription.waiting[0] == 200


def test_socket_that_fails_is_told_and_never_written_to_again() -> None:
    """What was in that write is lost and not counted as sent, and so is what waits, once the socket is forgotten."""
    case = Case(messages=2)
    case.hold("AA", P)
    case.hold("BC", E, first=3)
    case.transport.broken = True
    assert case.pump() is False
    assert case.owner.told[-1] == "failed"
    assert case.counts() == (0, 3, 1)
    case.hold("D", first=5)
    case.transport.broken = False
    assert case.pump() is False
    assert case.transport.writes == 0
    case.subscription.forget()
    assert case.counts() == (0, 4, 1)
    assert (case.tally.delivered, case.tally.dropped, case.tally.conflated, case.tally.behind) == (0, 4, 1, 0)


def test_forgotten_subscription_is_never_written_to() -> None:
    """All that waits is given up, and counted as what it is: dropped."""
    case = Case(messages=2)
    case.hold("AA", P)
    case.hold("BC", E, first=3)
    case.subscription.show(iter([[b"frame"]]))
    case.subscription.forget()
    assert case.pump() is False
    assert case.counts() == (0, 3, 1)
    assert case.subscription.peak == 2
    assert (case.subscription.ready, case.subscription.behind, case.tally.behind) == (False, False, 0)
    assert case.transport.writes == 0


# --- the account -----------------------------------------------------------------------------------------------


def test_peak_is_remembered_after_the_outbox_is_gone() -> None:
    """It goes into the line at the stream's end."""
    case = Case()
    case.hold("AB")
    assert case.subscription.peak == 2
    case.pump()
    case.hold("A")
    assert case.subscription.peak == 2


def test_losses_before_the_outbox_are_told_too() -> None:
    """Messages that the handoff had to drop: counted at once, told with the next write."""
    case = Case()
    case.subscription.lost({"A": 7}, False, NOW)
    assert case.subscription.pending
    assert case.counts() == (0, 7, 0)
    assert case.pump() is False
    (gap,) = case.transport.events()
    assert (gap["data"]["dropped"], gap["data"]["devices"]) == (7, {"A": 7})
    assert "incomplete" not in gap["data"]
    assert case.counts() == (0, 7, 0)


def test_losses_that_could_not_be_counted_by_device_are_told_as_that() -> None:
    """Also where none of those that were counted concerns this socket."""
    case = Case()
    case.subscription.lost({}, True, NOW)
    assert case.pump() is False
    (gap,) = case.transport.events()
    assert (gap["data"]["count"], gap["data"]["incomplete"]) == (0, True)


def test_waiting_is_what_waits() -> None:
    """Messages and bytes, as ``info`` tells them."""
    case = Case()
    case.hold("AB")
    assert case.subscription.waiting == (2, 2 * len(entry(1, "A").frame))
