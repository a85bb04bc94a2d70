"""The queue of a socket that cannot take data: its bound, its policies, its account of losses."""

from __future__ import annotations

import pytest

from bridge.core.telemetry import Kind
from bridge.fanout.outbox import Outbox, OutboxLimits, Outcome, Policy
from bridge.fanout.rendering import Entry

P, E = Kind.POSITION, Kind.EVENT


def outbox(policy: Policy, messages: int = 3, frame_bytes: int = 1000) -> Outbox:
    """An outbox for three messages."""
    return Outbox(OutboxLimits(messages, frame_bytes, policy), 0.0)


def fill(box: Outbox, texts: str, kind: Kind = E) -> list[Outcome]:
    """Offer one message per word: ``A1`` is device A's first."""
    return [box.offer(Entry(text[0], kind, text.encode())) for text in texts.split()]


def rest(box: Outbox) -> str:
    """All that waits, in order; afterwards the outbox is empty."""
    text = b" ".join(box.take(10**9)).decode()
    assert (len(box), box.frame_bytes) == (0, 0)
    return text


# --- policies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", list(Policy))
def test_bound_itself_fits(policy: Policy) -> None:
    """Exactly as many messages as allowed, under every policy, in the order in which they came."""
    box = outbox(policy)
    assert fill(box, "A1 B1 A2") == [Outcome.QUEUED] * 3
    assert (len(box), box.frame_bytes, box.peak) == (3, 6, 3)
    assert rest(box) == "A1 B1 A2"
    assert (box.gap.dropped, box.gap.conflated) == (0, 0)


@pytest.mark.parametrize(
    "policy, outcome, left, lost",
    [
        (Policy.LATEST, Outcome.DROPPED, "B1 A2 C1", {"A": 1}),
        (Policy.DROP_OLDEST, Outcome.DROPPED, "B1 A2 C1", {"A": 1}),
        (Policy.DROP_NEWEST, Outcome.DROPPED, "A1 B1 A2", {"C": 1}),
        (Policy.DISCONNECT, Outcome.OVERFLOWED, "A1 B1 A2", {}),
    ],
)
def test_one_message_more_gets_what_the_policy_says(
    policy: Policy, outcome: Outcome, left: str, lost: dict[str, int]
) -> None:
    """Events are never conflated: someone's is dropped, and the loss is counted for that one's device."""
    box = outbox(policy)
    fill(box, "A1 B1 A2")
    assert fill(box, "C1") == [outcome]
    assert dict(box.gap.devices) == lost
    assert box.peak == 3
    assert rest(box) == left


@pytest.mark.parametrize(
    "policy, left",
    [
        (Policy.LATEST, "C1 D"),
        (Policy.DROP_OLDEST, "C1 D"),
        (Policy.DROP_NEWEST, "A1 B1 C1"),
        (Policy.DISCONNECT, "A1 B1 C1"),
    ],
)
def test_bound_in_bytes_is_as_hard_as_the_one_in_messages(policy: Policy, left: str) -> None:
    """A long message pushes out what it needs the room of, no more."""
    box = outbox(policy, messages=10, frame_bytes=8)
    fill(box, "A1 B1 C1")
    box.offer(Entry("D", E, b"D    "))
    assert box.frame_bytes <= 8
    assert rest(box).rstrip() == left


@pytest.mark.parametrize("kind", [P, E])
@pytest.mark.parametrize("policy", list(Policy))
def test_frame_above_the_bound_is_dropped_alone(policy: Policy, kind: Kind) -> None:
    """It can never fit, so nothing that waits is given up for it and no socket is closed over it."""
    box = outbox(policy, frame_bytes=8)
    fill(box, "A1 B1", P)
    assert box.offer(Entry("A", kind, b"A" * 9)) is Outcome.DROPPED
    assert (box.gap.dropped, box.gap.conflated, dict(box.gap.devices)) == (1, 0, {"A": 1})
    assert rest(box) == "A1 B1"
    assert outbox(policy, frame_bytes=8).offer(Entry("A", kind, b"A" * 8)) is Outcome.QUEUED


def test_drop_newest_refuses_the_newcomer_however_little_its_device_holds() -> None:
    """It keeps what waits: fairness is for the policies that give up what waits."""
    box = outbox(Policy.DROP_NEWEST)
    fill(box, "A1 A2 A3")
    assert fill(box, "B1 A4") == [Outcome.DROPPED] * 2
    assert dict(box.gap.devices) == {"A": 1, "B": 1}
    assert rest(box) == "A1 A2 A3"


# --- conflation --------------------------------------------------------------------------------------------


def test_newer_position_takes_the_place_of_the_waiting_one() -> None:
    """It keeps the place in the queue, so a device that reports often is served as soon as the others."""
    box = outbox(Policy.LATEST)
    assert fill(box, "A1 B1 A2 A3", P) == [Outcome.QUEUED, Outcome.QUEUED, Outcome.CONFLATED, Outcome.CONFLATED]
    assert (box.gap.dropped, box.gap.conflated, dict(box.gap.devices)) == (0, 2, {"A": 2})
    assert rest(box) == "A3 B1"


def test_chatty_device_does_not_push_out_the_quiet_ones() -> None:
    """A thousand positions of one device cost nobody else a message."""
    box = outbox(Policy.LATEST)
    fill(box, "A1 B1 C1", P)
    fill(box, " ".join(f"B{number}" for number in range(2, 1002)), P)
    assert rest(box) == "A1 B1001 C1"
    assert (box.gap.dropped, box.gap.conflated) == (0, 1000)


def test_later_position_does_not_overtake_an_event() -> None:
    """Ignition off, then the position where it stands: in this order, also when an older position waits before."""
    box = outbox(Policy.LATEST, messages=9)
    fill(box, "A1", P)
    fill(box, "A2", E)
    assert fill(box, "A3 A4", P) == [Outcome.QUEUED, Outcome.CONFLATED]
    assert rest(box) == "A1 A2 A4"


def test_event_of_another_device_does_not_stop_conflation() -> None:
    """Order is kept for each device, not between them."""
    box = outbox(Policy.LATEST, messages=9)
    fill(box, "A1", P)
    fill(box, "B1", E)
    assert fill(box, "A2", P) == [Outcome.CONFLATED]
    assert rest(box) == "A2 B1"


def test_position_that_was_taken_is_not_replaced() -> None:
    """What was handed to the transport is gone; the next position waits anew. So is one that was dropped."""
    box = outbox(Policy.LATEST)
    fill(box, "A1", P)
    assert box.take(1) == [b"A1"]
    assert fill(box, "A2", P) == [Outcome.QUEUED]
    fill(box, "B1 C1 D1", E)  # A2 is dropped
    assert fill(box, "A3", P) == [Outcome.DROPPED]
    assert rest(box) == "C1 D1 A3"


@pytest.mark.parametrize(
    "waiting, came, left", [(5.0, 4.9, "A1"), (5.0, 5.0, "A2"), (5.0, 5.1, "A2"), (0.0, 0.0, "A2")]
)
def test_older_fix_never_takes_the_place_of_a_newer_one(waiting: float, came: float, left: str) -> None:
    """A device that sends what it had buffered: the newest fix stays, the older is conflated and counted as that."""
    box = outbox(Policy.LATEST)
    box.offer(Entry("A", P, b"A1", waiting))
    assert box.offer(Entry("A", P, b"A2", came)) is Outcome.CONFLATED
    assert (box.gap.dropped, box.gap.conflated, dict(box.gap.devices)) == (0, 1, {"A": 1})
    assert rest(box) == left


def test_older_fix_that_is_longer_changes_nothing_either() -> None:
    """No room is made for a fix that is not to be kept."""
    box = outbox(Policy.LATEST, frame_bytes=8)
    box.offer(Entry("A", P, b"A1", 5.0))
    fill(box, "B1 C1")
    assert box.offer(Entry("A", P, b"A       ", 4.0)) is Outcome.CONFLATED
    assert (box.frame_bytes, box.gap.dropped) == (6, 0)
    assert rest(box) == "A1 B1 C1"


def test_longer_position_that_no_longer_fits_pushes_out_the_oldest() -> None:
    """The bound in bytes holds also when an entry would grow in its place."""
    box = outbox(Policy.LATEST, messages=9, frame_bytes=8)
    fill(box, "B1 A1 C1", P)
    assert box.offer(Entry("A", P, b"A     ")) is Outcome.DROPPED
    assert box.frame_bytes <= 8
    assert rest(box) == "C1 A     "
    assert box.gap.dropped == 2


@pytest.mark.parametrize("size, outcome", [(2, Outcome.CONFLATED), (6, Outcome.CONFLATED), (7, Outcome.DROPPED)])
def test_position_may_fill_the_bound_to_the_last_byte(size: int, outcome: Outcome) -> None:
    """The room of the one that it replaces counts as free."""
    box = outbox(Policy.LATEST, frame_bytes=8)
    box.offer(Entry("B", P, b"B1"))
    box.offer(Entry("A", P, b"A     "))
    assert box.offer(Entry("A", P, b"A" * size)) is outcome


@pytest.mark.parametrize("policy", [Policy.DROP_OLDEST, Policy.DROP_NEWEST, Policy.DISCONNECT])
def test_only_latest_conflates(policy: Policy) -> None:
    """The other policies keep every position that they keep."""
    box = outbox(policy)
    fill(box, "A1 A2 A3", P)
    assert rest(box) == "A1 A2 A3"


def test_what_is_not_wanted_any_more_is_forgotten_and_not_counted() -> None:
    """After an unsubscribe, or a token for fewer devices: the others stay in order, and conflate as before."""
    box = outbox(Policy.LATEST, messages=9)
    fill(box, "A1 B1 C1 A2", P)
    fill(box, "B2", E)
    box.retain(lambda device_id: device_id != "A")
    assert (len(box), box.frame_bytes) == (3, 6)
    assert (box.gap.dropped, dict(box.gap.devices)) == (0, {})
    assert fill(box, "C3 B3 A3", P) == [Outcome.CONFLATED, Outcome.QUEUED, Outcome.QUEUED]
    assert rest(box) == "B1 C3 B2 B3 A3"


# --- taking --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room, taken", [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (100, 3)])
def test_take_gives_what_fits_and_at_least_one(room: int, taken: int) -> None:
    """A frame larger than the room must not wait for ever."""
    box = outbox(Policy.LATEST)
    fill(box, "A1 B1 C1")
    assert len(box.take(room)) == taken
    assert len(box) == 3 - taken
    assert box.frame_bytes == 2 * (3 - taken)


def test_nothing_is_taken_from_an_empty_outbox() -> None:
    """No frame, no error."""
    assert outbox(Policy.LATEST).take(100) == []


def test_gap_counts_from_when_the_outbox_was_made() -> None:
    """``since`` is the wall clock at the beginning of the episode."""
    assert Outbox(OutboxLimits(1, 1, Policy.LATEST), 12.5).gap.since == 12.5
