"""Pings for all sockets by one timer."""

from __future__ import annotations

import gc
import weakref
from collections import Counter

import pytest

from bridge.core.limits import PONG_SECONDS, PULSE_TICK_SECONDS
from bridge.stream.heartbeat import Heartbeat
from tests.fakes import Timers


class Member:
    """Notes when it is asked for a sign of life."""

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.pings: list[float] = []
        self.checks: list[float] = []

    def ping(self) -> None:
        self.pings.append(self.timers.now)

    def check_pulse(self) -> None:
        self.checks.append(self.timers.now)


@pytest.mark.parametrize("period", [1.0, 2.0, 10.0, 25.0, 300.0])
def test_pings_come_every_period(period: float) -> None:
    """The first after half to one period, then one every period, to the tick."""
    timers = Timers()
    heartbeat = Heartbeat(period, timers)
    members = [Member(timers) for _ in range(50)]
    for member in members:
        heartbeat.add(member)
    timers.advance(4.01 * period)
    for member in members:
        assert period / 2 <= member.pings[0] <= period
        gaps = [later - earlier for earlier, later in zip(member.pings, member.pings[1:], strict=False)]
        assert gaps == [pytest.approx(period)] * len(gaps)
        assert len(gaps) >= 2


def test_sockets_that_came_together_are_not_pinged_together() -> None:
    """After a restart ten thousand come in a second: no tick pings more than a few times its share."""
    timers = Timers()
    heartbeat = Heartbeat(25.0, timers)
    members = [Member(timers) for _ in range(1000)]
    for member in members:
        heartbeat.add(member)
    timers.advance(25.01)
    busiest = Counter(member.pings[0] for member in members).most_common(1)[0][1]
    assert busiest < 5 * 1000 / (25 / 2 / PULSE_TICK_SECONDS)


@pytest.mark.parametrize("period", [1.0, 5.0, 10.0, 25.0])
def test_pulse_is_checked_after_each_ping_and_before_the_next(period: float) -> None:
    """PONG_SECONDS later, or a tick before the next ping where the period is shorter."""
    timers = Timers()
    heartbeat = Heartbeat(period, timers)
    member = Member(timers)
    heartbeat.add(member)
    timers.advance(5 * period)
    wait = min(PONG_SECONDS, period - PULSE_TICK_SECONDS)
    for ping in member.pings[:-1]:
        assert pytest.approx(ping + wait) in member.checks


def test_discarded_member_hears_nothing_more() -> None:
    """Also when it goes between ping and check, or in its own ping, or twice."""
    timers = Timers()
    heartbeat = Heartbeat(1.0, timers)
    member, staying = Member(timers), Member(timers)
    heartbeat.add(member)
    heartbeat.add(staying)
    while not member.pings:
        timers.advance(PULSE_TICK_SECONDS)
    checks = len(member.checks)
    heartbeat.discard(member)
    heartbeat.discard(member)
    timers.advance(5)
    assert len(member.pings) == 1
    assert len(member.checks) == checks
    assert len(staying.pings) >= 4


def test_member_may_leave_while_it_is_pinged() -> None:
    """A ping that finds the socket dead ends it; the others of that tick are pinged all the same."""
    timers = Timers()
    heartbeat = Heartbeat(1.0, timers)

    class Leaving(Member):
        def ping(self) -> None:
            super().ping()
            heartbeat.discard(self)

        def check_pulse(self) -> None:
            heartbeat.discard(self)

    leaving = [Leaving(timers) for _ in range(20)]
    staying = [Member(timers) for _ in range(20)]
    for one, other in zip(leaving, staying, strict=True):
        heartbeat.add(one)
        heartbeat.add(other)
    timers.advance(3)
    assert all(len(member.pings) <= 1 for member in leaving)
    assert all(len(member.pings) >= 2 for member in staying)


def test_empty_wheel_stops_and_starts_again() -> None:
    """No timer without sockets, and never two timers."""
    timers = Timers()
    heartbeat = Heartbeat(1.0, timers)
    assert timers.due == []
    for _ in range(3):
        members = [Member(timers), Member(timers)]
        for member in members:
            heartbeat.add(member)
        assert len(timers.due) == 1
        timers.advance(2)
        assert len(timers.due) == 1
        for member in members:
            heartbeat.discard(member)
        late = Member(timers)
        heartbeat.add(late)
        assert len(timers.due) == 1
        heartbeat.discard(late)
        timers.advance(1)
        assert timers.due == []
        assert all(member.pings for member in members)
        assert late.pings == []


def test_member_that_has_left_is_not_kept() -> None:
    """A wheel that turns for years holds those that are there, and nothing of those that were."""
    timers = Timers()
    heartbeat = Heartbeat(1.0, timers)
    staying, leaving = Member(timers), [Member(timers) for _ in range(100)]
    left = [weakref.ref(member) for member in leaving]
    for member in (staying, *leaving):
        heartbeat.add(member)
    timers.advance(2)
    for member in leaving:
        heartbeat.discard(member)
    timers.advance(2)
    del member, leaving
    gc.collect()
    assert [ref() for ref in left] == [None] * 100
    assert len(staying.pings) >= 3


def test_limits_are_values() -> None:
    """Seconds to a sign of life and the step of the wheel are what the caller says."""
    timers = Timers()
    heartbeat = Heartbeat(4.0, timers, pong_seconds=1.5, tick_seconds=0.5)
    member = Member(timers)
    heartbeat.add(member)
    assert timers.due == [0.5]
    timers.advance(20)
    assert len(member.pings) >= 4
    for ping in member.pings[:-1]:
        assert pytest.approx(ping + 1.5) in member.checks
