"""Cohorts of another make: attached, joined, delivered to, and detached without a trace."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.limits import CHUNK_BYTES
from bridge.core.telemetry import Telemetry
from bridge.fanout.cohort import Cohort
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.subscription import Subscription
from tests.fakes import Owner, Transport, event
from tests.unit.fanout.test_broker import Case, ids, maps


def attached(case: Case, *selectors: str) -> Cohort:
    """A cohort that lasts."""
    cohort = Cohort(frozenset(selectors))
    case.broker.attach(cohort)
    return cohort


def member(case: Case, cohort: Cohort) -> tuple[Subscription, Transport]:
    """One more that has joined."""
    transport = Transport()
    subscription = Subscription(transport, OutboxLimits(100, 10**6, Policy.LATEST), Owner(), case.broker.tally)
    case.broker.join(subscription, cohort)
    return subscription, transport


def test_members_of_an_attached_cohort_get_what_it_covers() -> None:
    """Beside the cohort of the same selection that others chose: two cohorts, each its own members."""
    case = Case()
    cohort = attached(case, "A", "b*")
    (joined, left), (_, right) = member(case, cohort), case.subscriber("A", "b*")
    case.broker.publish([event("A"), event("c"), event("b1")])
    assert ids(left) == ids(right) == ["A-1", "b1-1"]
    assert (joined.sent, case.broker.tally.delivered) == (2, 4)
    assert case.broker.statistics().cohorts == 2
    assert case.broker.statistics().subscriptions == 2


def test_attached_cohort_lasts_without_members() -> None:
    """It goes on counting what it was brought, and one who joins later is not counted for that."""
    case = Case()
    cohort = attached(case, "A")
    subscription, _ = member(case, cohort)
    case.broker.forget(subscription)
    case.broker.publish([event("A")])
    assert (cohort.written, case.broker.tally.delivered) == (1, 0)
    late, transport = member(case, cohort)
    case.broker.publish([event("A")])
    assert (ids(transport), late.sent, subscription.sent) == (["A-2"], 1, 0)


def test_deliver_is_a_turn_for_one_cohort() -> None:
    """Deadlines first; a socket that is behind is looked after as in any turn."""
    case = Case()
    cohort = attached(case, "A")
    (_, quick), (slow, full) = member(case, cohort), member(case, cohort)
    full.buffered = CHUNK_BYTES
    cohort.entries.append((event("A"), b"\x81\x02{}"))
    turns = case.turns
    case.broker.deliver(cohort)
    assert case.turns == turns + 1
    assert (quick.data, full.data, slow.behind) == (b"\x81\x02{}", b"", True)
    assert case.broker.tally.delivered == 1
    full.buffered = 0
    case.timers.advance(1.0)
    assert full.data == b"\x81\x02{}"
    assert case.broker.tally.delivered == 2


def test_delivered_counts_what_was_written_and_not_what_came() -> None:
    """A cohort may make more or fewer frames of a message."""

    class Half(Cohort):
        __slots__ = ()

        def flush(self, now: float, monotonic: float) -> list[Subscription]:
            self.entries = self.entries[::2]
            return super().flush(now, monotonic)

    case = Case()
    cohort = Half(frozenset({"A"}))
    case.broker.attach(cohort)
    (one, _), _ = member(case, cohort), member(case, cohort)
    case.broker.publish([event("A")] * 5)
    assert (case.broker.tally.delivered, one.sent) == (6, 3)


def test_failing_cohort_costs_the_others_nothing() -> None:
    """Its error is raised when they have their frames; the next turn works."""

    class Failing(Cohort):
        __slots__ = ()

        def flush(self, now: float, monotonic: float) -> list[Subscription]:
            if len(self.entries) == 1:
                self.entries = []
                raise ZeroDivisionError
            return super().flush(now, monotonic)

    case = Case()
    cohort = Failing(frozenset({"A"}))
    case.broker.attach(cohort)
    (_, broken), (_, sound) = member(case, cohort), member(case, attached(case, "A"))
    with pytest.raises(ZeroDivisionError):
        case.broker.publish([event("A")])
    assert (ids(broken), ids(sound)) == ([], ["A-1"])
    case.broker.publish([event("A"), event("A")])
    assert ids(broken) == ids(sound) == ["A-2", "A-3"]


@pytest.mark.parametrize("others", [False, True])
def test_members_that_are_left_when_a_cohort_goes_are_forgotten(others: bool) -> None:
    """A socket that was cut may still be there: when its own end comes, nobody else's selection is touched."""
    case = Case()
    cohort = attached(case, "A")
    subscription, transport = member(case, cohort)
    transport.buffered = CHUNK_BYTES
    case.broker.publish([event("A")])
    other = case.subscriber("A") if others else None
    case.broker.detach(cohort)
    assert (subscription.behind, subscription.dropped) == (False, 1)
    case.broker.forget(subscription)
    case.broker.publish([event("A")])
    assert transport.writes == 0
    if other is not None:
        assert ids(other[1]) == ["A-2"]
        case.broker.forget(other[0])
    assert maps(case.broker) == {}


# --- nothing left behind, whatever the order --------------------------------------------------------------------

DEVICES = ["A", "B", "a1", "a2"]
SELECTORS = ["A", "B", "a1", "a*", "*1", "*"]
COVERED = {"A": ["A"], "B": ["B"], "a1": ["a1"], "a*": ["a1", "a2"], "*1": ["a1"], "*": DEVICES}
selections = st.lists(st.sampled_from(SELECTORS), max_size=3)
steps = st.one_of(
    st.tuples(st.just("select"), st.integers(0, 2), selections),
    st.tuples(st.just("join"), st.integers(3, 5), st.integers(0, 2)),
    st.tuples(st.just("forget"), st.integers(0, 5)),
    st.tuples(st.just("attach"), st.integers(0, 2), selections.filter(bool)),
    st.tuples(st.just("detach"), st.integers(0, 2)),
    st.tuples(st.just("stall"), st.integers(0, 5)),
    st.tuples(st.just("publish"), st.lists(st.sampled_from(DEVICES), max_size=4)),
)


class Model:
    """Six sockets, of which three choose for themselves and three join what is attached."""

    def __init__(self) -> None:
        self.case = Case()
        self.transports = [Transport() for _ in range(6)]
        self.subscriptions = [self._fresh(number) for number in range(6)]
        self.wanted: dict[int, frozenset[str]] = {}
        self.attached: dict[int, Cohort] = {}
        self.joined: dict[int, int] = {}
        self.expected: list[list[str]] = [[] for _ in range(6)]
        self.published = Counter[str]()
        self.delivered = 0

    def _fresh(self, number: int) -> Subscription:
        limits = OutboxLimits(1000, 10**6, Policy.LATEST)
        return Subscription(self.transports[number], limits, Owner(), self.case.broker.tally)

    def take(self, step: tuple[Any, ...]) -> None:
        getattr(self, step[0])(*step[1:])

    def select(self, number: int, selectors: list[str]) -> None:
        self.catch_up(number)
        self.wanted[number] = frozenset(selectors)
        self.case.broker.select(self.subscriptions[number], self.wanted[number])

    def join(self, number: int, which: int) -> None:
        if which in self.attached and number not in self.joined:
            self.joined[number] = which
            self.subscriptions[number] = self._fresh(number)
            self.case.broker.join(self.subscriptions[number], self.attached[which])
            self.wanted[number] = self.attached[which].selectors

    def forget(self, number: int) -> None:
        self.catch_up(number)
        self.case.broker.forget(self.subscriptions[number])
        self.wanted.pop(number, None)
        self.joined.pop(number, None)

    def attach(self, which: int, selectors: list[str]) -> None:
        if which not in self.attached:
            self.attached[which] = Cohort(frozenset(selectors))
            self.case.broker.attach(self.attached[which])

    def detach(self, which: int) -> None:
        if which in self.attached:
            for number in [one for one, room in self.joined.items() if room == which]:
                self.catch_up(number)
                del self.joined[number], self.wanted[number]
            self.case.broker.detach(self.attached.pop(which))

    def stall(self, number: int) -> None:
        self.transports[number].buffered = CHUNK_BYTES

    def catch_up(self, number: int) -> None:
        self.transports[number].buffered = 0
        self.case.timers.advance(1.0)

    def publish(self, devices: list[str]) -> None:
        for device_id in devices:
            self.published[device_id] += 1
            for number, selectors in self.wanted.items():
                if any(device_id in COVERED[selector] for selector in selectors):
                    self.expected[number].append(f"{device_id}-{self.published[device_id]}")
                    self.delivered += 1
        self.case.broker.publish([event(device_id) for device_id in devices])

    def check(self) -> None:
        stats = self.case.broker.statistics()
        chosen = {self.wanted[number] for number in range(3) if self.wanted.get(number)}
        assert stats.cohorts == len(chosen) + len(self.attached)
        assert stats.subscriptions == sum(bool(selectors) for selectors in self.wanted.values())
        in_use = chosen | {cohort.selectors for cohort in self.attached.values()}
        assert stats.selectors == len(frozenset().union(*in_use))


@settings(max_examples=150)
@given(st.lists(steps, max_size=30))
def test_any_order_of_changes_delivers_what_is_wanted_and_leaves_nothing(script: list[tuple[Any, ...]]) -> None:
    """Each socket gets each message that it wants, once and in order, stalled or not; the tally is their sum."""
    model = Model()
    for step in script:
        model.take(step)
        model.check()
    for number in range(6):
        model.catch_up(number)
    assert [ids(transport) for transport in model.transports] == model.expected
    assert model.case.broker.tally.delivered == model.delivered
    for which in range(3):
        model.detach(which)
    for number in range(6):
        model.forget(number)
    model.check()
    assert maps(model.case.broker) == {}
    model.case.timers.advance(1.0)
    assert model.case.timers.due == []


def test_telemetry_of_an_attached_cohort_is_the_raw_message() -> None:
    """What it makes of it is its own affair."""
    case = Case()
    came: list[Telemetry] = []

    class Noting(Cohort):
        __slots__ = ()

        def flush(self, now: float, monotonic: float) -> list[Subscription]:
            came.extend(message for message, _ in self.entries)
            return super().flush(now, monotonic)

    case.broker.attach(Noting(frozenset({"A"})))
    message = event("A", '{"x": 1}')
    case.broker.publish([message])
    assert came == [message]
