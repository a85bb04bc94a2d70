"""Sockets with the same selection: rendered once, written once each, and every message accounted for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.telemetry import Kind
from bridge.fanout.cohort import Cohort
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.rendering import Entry, Selection
from bridge.fanout.subscription import Subscription, Tally
from bridge.protocol.frames import message_frame
from tests.fakes import Frames, Owner, Transport

NOW = 1_900_000_000.0
DEVICES = "ABC"


class Member:
    """One socket of a cohort, and what became of the messages for it."""

    def __init__(self, case: Case, limits: OutboxLimits) -> None:
        self.transport = Transport()
        self.owner = Owner()
        self.subscription = Subscription(self.transport.write, limits, self.owner, case.tally)
        self.subscription.renderer = case.frames
        self.transport.pause_writing = self.subscription.pause
        self.transport.resume_writing = self.subscription.resume
        self.offered = self.lost = self.unselected = self.replayed = 0
        self.seen: list[tuple[str, int]] = []
        self.told_lost = 0

    def look(self) -> None:
        """Read what was written."""
        for one in self.transport.events():
            if one["event"] == "gap":
                self.told_lost += one["data"]["count"]
            elif one.get("replay"):
                self.replayed += 1
            else:
                self.seen.append((one["device_id"], int(one["id"][2:])))


class Case:
    """A cohort whose renderer shows what a test gives it."""

    def __init__(self, *limits: OutboxLimits) -> None:
        self.tally = Tally()
        self.frames = Frames()
        self.cohort = Cohort(Selection(frozenset(DEVICES), self.frames))
        self.members = [Member(self, each) for each in limits]
        for member in self.members:
            self.cohort.members[member.subscription] = None
        self.count = 0

    def turn(self, *messages: tuple[str, Kind, int]) -> int:
        """Messages as device, kind and size; returns how many were written, each once a socket."""
        for device_id, kind, size in messages:
            self.count += 1
            payload = b'"%b"' % (b"x" * size)
            self.frames.ready.append(
                Entry(device_id, kind, message_frame(f"k-{self.count}", device_id, payload, False))
            )
        written = self.cohort.flush(NOW, 0.0)
        self.tally.delivered += written
        return written


def two(policy: Policy = Policy.LATEST) -> Case:
    """A cohort of two."""
    return Case(OutboxLimits(9, 10**6, policy), OutboxLimits(9, 10**6, policy))


def test_turn_is_one_write_for_each_socket() -> None:
    """All frames joined, and counted for each."""
    case = two()
    assert case.turn(("A", Kind.EVENT, 1), ("B", Kind.EVENT, 1)) == 4
    for member in case.members:
        assert member.transport.writes == 1
        member.look()
        assert member.seen == [("A", 1), ("B", 2)]
        assert member.subscription.sent == 2


def test_turn_that_shows_nothing_writes_nothing() -> None:
    """Not an empty string either."""
    case = two()
    assert case.turn() == 0
    assert [member.transport.writes for member in case.members] == [0, 0]


def test_cohort_without_members_renders_all_the_same() -> None:
    """What shows a delayed position has to hear of it while nobody watches."""
    case = Case()
    assert case.turn(("A", Kind.EVENT, 1)) == 0
    assert case.frames.ready == []


def test_socket_that_is_full_does_not_hold_up_the_others() -> None:
    """Its messages wait; theirs are written, and only those are counted as that."""
    case = two()
    slow, quick = case.members
    slow.transport.fill()
    assert case.turn(("A", Kind.EVENT, 1)) == 1
    assert (slow.transport.writes, slow.subscription.waiting[0], case.tally.behind) == (0, 1, 1)
    assert quick.transport.writes == 1


def test_turn_that_fills_the_transport_is_the_last_until_it_resumes() -> None:
    """The transport says so within the write; the next turn waits."""
    case = two()
    slow, _ = case.members
    slow.transport.stuck = True
    assert case.turn(("A", Kind.EVENT, 30_000)) == 2
    assert case.turn(("A", Kind.EVENT, 1)) == 1
    assert (slow.subscription.sent, slow.subscription.waiting[0]) == (1, 1)


def test_socket_that_fails_costs_the_others_nothing() -> None:
    """Its owner hears of it, its messages wait for the end; nothing of them counts as written."""
    case = two()
    broken, sound = case.members
    broken.transport.broken = True
    assert case.turn(("A", Kind.EVENT, 1)) == 1
    assert case.turn(("A", Kind.EVENT, 1)) == 1
    assert broken.owner.told == ["failed"]
    broken.subscription.forget()
    assert (broken.subscription.sent, broken.subscription.dropped, sound.subscription.sent) == (0, 2, 2)


# --- the sum ---------------------------------------------------------------------------------------------------

number = st.integers(0, 2)
limits_of = st.builds(OutboxLimits, st.integers(1, 6), st.integers(100, 600), st.sampled_from(Policy))
messages = st.tuples(st.sampled_from(DEVICES), st.sampled_from(Kind), st.integers(0, 200) | st.just(20_000))
turns = st.tuples(st.just("turn"), st.lists(messages, max_size=5))
verbs = st.tuples(st.sampled_from(["fill", "stick", "drain", "pump", "cut", "forget", "show"]), number)
narrows = st.tuples(st.just("narrow"), number, st.sets(st.sampled_from(DEVICES)))
losses = st.tuples(st.just("lose"), number, st.integers(1, 5), st.booleans())


class Account:
    """Plays a script against a cohort and holds what each socket got against what there was for it."""

    def __init__(self, limits: list[OutboxLimits]) -> None:
        self.case = Case(*limits)

    def take(self, step: tuple[Any, ...]) -> None:
        verb, *rest = step
        if verb == "turn":
            for member in self.case.members:
                if member.subscription in self.case.cohort.members:
                    member.offered += len(rest[0])
            self.case.turn(*rest[0])
        else:
            member = self.case.members[rest[0]]
            getattr(self, verb)(member, *rest[1:])
        for member in self.case.members:
            member.look()
        self.check()

    def fill(self, member: Member) -> None:
        member.transport.fill()

    def stick(self, member: Member) -> None:
        member.transport.stuck = True

    def drain(self, member: Member) -> None:
        if not member.transport.broken:
            member.transport.drain()

    def pump(self, member: Member) -> None:
        member.subscription.pump(NOW)

    def show(self, member: Member) -> None:
        if member.subscription in self.case.cohort.members:
            member.subscription.show(iter([[message_frame("k-0", "A", b'"' + b"x" * 300 + b'"', True)] * 2] * 3))

    def cut(self, member: Member) -> None:
        """From now on writing raises."""
        member.transport.broken = True

    def lose(self, member: Member, count: int, incomplete: bool) -> None:
        if member.subscription in self.case.cohort.members:
            member.lost += count
            member.subscription.lost({"A": count}, incomplete, NOW)

    def narrow(self, member: Member, wanted: set[str]) -> None:
        """As the broker does for a new selection: the cohort stays the same here, which changes nothing."""
        outbox = member.subscription.outbox
        if outbox is not None:
            before = len(outbox)
            outbox.retain(wanted.__contains__)
            member.unselected += before - len(outbox)

    def forget(self, member: Member) -> None:
        """The socket is gone."""
        self.case.cohort.members.pop(member.subscription, None)
        member.subscription.forget()

    def check(self) -> None:
        members, tally = self.case.members, self.case.tally
        for member in members:
            one = member.subscription
            waiting = one.waiting[0]
            live = one.sent - member.replayed
            assert member.offered + member.lost == live + one.dropped + one.conflated + waiting + member.unselected
            assert live == len(member.seen)
            assert one.ready is False or waiting == 0
            assert member.told_lost <= one.dropped + one.conflated
        assert tally.delivered == sum(member.subscription.sent for member in members)
        assert tally.dropped == sum(member.subscription.dropped for member in members)
        assert tally.conflated == sum(member.subscription.conflated for member in members)
        assert tally.behind == sum(member.subscription.behind for member in members)

    def finish(self) -> None:
        """Every socket that can catches up: all losses are announced, each device's messages came in order."""
        for member in self.case.members:
            if member.transport.broken or member.subscription not in self.case.cohort.members:
                continue
            member.transport.drain()
            while member.subscription.pending:
                member.subscription.pump(NOW)
            member.look()
            one = member.subscription
            assert (one.waiting, one.ready) == ((0, 0), True)
            assert member.told_lost == one.dropped + one.conflated
        self.check()
        for member in self.case.members:
            for device_id in DEVICES:
                numbers = [seen for name, seen in member.seen if name == device_id]
                assert numbers == sorted(set(numbers))
            self.forget(member)
        self.check()
        assert self.case.tally.behind == 0


@settings(max_examples=300)
@given(st.lists(limits_of, min_size=3, max_size=3), st.lists(turns | turns | verbs | narrows | losses, max_size=40))
def test_published_is_delivered_dropped_conflated_or_waiting(
    limits: list[OutboxLimits], script: list[tuple[Any, ...]]
) -> None:
    """For every socket, after every step, whatever it was; the tally is the sum; at the end every loss was told."""
    account = Account(limits)
    for step in script:
        account.take(step)
    account.finish()


@pytest.mark.parametrize("policy", [Policy.LATEST, Policy.DROP_OLDEST])
@pytest.mark.parametrize("kind", list(Kind))
def test_one_chatty_device_beside_ten_quiet_ones_on_a_slow_socket(policy: Policy, kind: Kind) -> None:
    """All ten arrive, positions and others, and the gap names the chatty one alone, exact to the message."""
    case = Case(OutboxLimits(16, 10**6, policy))
    (member,) = case.members
    member.transport.fill()
    quiet = [f"quiet-{one}" for one in range(10)]
    for name in quiet:
        for _ in range(50):
            case.turn(("chatty", Kind.EVENT, 10), ("chatty", Kind.POSITION, 10))
        case.turn((name, kind, 10))
    for _ in range(500):
        case.turn(("chatty", kind, 10))
    member.transport.drain()
    member.subscription.pump(NOW)
    gap, *rest = member.transport.events()
    assert gap["data"]["devices"] == {"chatty": 1500 - (len(rest) - 10)}
    assert [one["device_id"] for one in rest if one["device_id"] != "chatty"] == quiet
    assert member.subscription.dropped + member.subscription.conflated == gap["data"]["count"]
