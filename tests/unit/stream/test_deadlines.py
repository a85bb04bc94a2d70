"""The end of credentials: on time, by a wall clock that may jump."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.limits import RECHECK_SECONDS
from bridge.stream.deadlines import Deadlines
from tests.fakes import Clock, Timers

NOW = 1_900_000_000.0


class Moment(float):
    """A time of which one can see whether something still holds it."""


def held(moments: list[weakref.ref[Moment]]) -> int:
    """How many of them are still in memory."""
    return sum(moment() is not None for moment in moments)


class Case:
    """Deadlines, a wall clock and a loop."""

    def __init__(self, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self.clock = Clock(NOW)
        self.timers = Timers()
        self.deadlines = Deadlines(self.clock, self.timers, recheck_seconds)
        self.told: list[object] = []

    def note(self, what: object) -> Callable[[], None]:
        return lambda: self.told.append(what)

    def pass_time(self, seconds: float, step: float = 0.01) -> None:
        """Wall clock and loop go on together."""
        for _ in range(round(seconds / step)):
            self.clock.now += step
            self.timers.advance(step)


@pytest.mark.parametrize("after", [0.05, 0.5, 1.0, 1.5, 7.25])
def test_callback_comes_on_time(after: float) -> None:
    """Not before its moment, and within two hundredths of a second after it; once."""
    case = Case()
    case.deadlines.set("a", NOW + after, case.note("a"))
    case.pass_time(after - 0.02)
    assert case.told == []
    case.pass_time(0.04)
    assert case.told == ["a"]
    case.pass_time(3)
    assert case.told == ["a"]
    assert len(case.deadlines) == 0


def test_deadline_in_the_past_is_due_at_once() -> None:
    """With the loop's next look, not inside ``set``."""
    case = Case()
    case.deadlines.set("a", NOW - 10, case.note("a"))
    assert case.told == []
    case.timers.advance(0)
    assert case.told == ["a"]


def test_earlier_deadline_comes_first_whatever_the_order_of_setting() -> None:
    """A new first one re-arms the timer; equal moments come in the order in which they were set."""
    case = Case()
    for name, after in (("late", 0.9), ("early", 0.1), ("middle", 0.5), ("same", 0.5)):
        case.deadlines.set(name, NOW + after, case.note(name))
    assert len(case.timers.due) == 1
    case.pass_time(0.2)
    assert case.told == ["early"]
    case.pass_time(1)
    assert case.told == ["early", "middle", "same", "late"]


def test_new_deadline_takes_the_place_of_the_old_one() -> None:
    """A fresh token moves the end, forwards or backwards; the old callback never comes."""
    case = Case()
    case.deadlines.set("a", NOW + 0.1, case.note("old"))
    case.deadlines.set("a", NOW + 0.5, case.note("new"))
    case.deadlines.set("b", NOW + 9, case.note("b old"))
    case.deadlines.set("b", NOW + 0.2, case.note("b new"))
    assert len(case.deadlines) == 2
    case.pass_time(0.3)
    assert case.told == ["b new"]
    case.pass_time(0.3)
    assert case.told == ["b new", "new"]


def test_one_after_a_jump_of_the_clock_comes_on_time() -> None:
    """A turn ends what the jump made due; the timer of before the jump does not hold up what is next."""
    case = Case()
    case.deadlines.set("jumped over", NOW + 5, case.note("jumped over"))
    case.clock.now += 60
    case.deadlines.set("next", case.clock.now + 0.3, case.note("next"))
    case.deadlines.enforce()
    assert case.told == ["jumped over"]
    assert len(case.timers.due) == 1
    case.pass_time(0.32)
    assert case.told == ["jumped over", "next"]


def test_discarded_deadline_never_comes() -> None:
    """Nor does discarding what was never set hurt."""
    case = Case()
    case.deadlines.set("a", NOW + 0.1, case.note("a"))
    case.deadlines.discard("a")
    case.deadlines.discard("b")
    case.pass_time(2)
    assert case.told == []
    assert len(case.deadlines) == 0


@pytest.mark.parametrize("jump", [3600.0, 10.0])
def test_clock_that_is_set_forward_is_noticed_within_a_second(jump: float) -> None:
    """By the timer, which never sleeps longer than that; a machine that slept looks the same."""
    case = Case()
    case.deadlines.set("a", NOW + jump, case.note("a"))
    case.pass_time(0.5)
    case.clock.now += jump
    case.timers.advance(RECHECK_SECONDS)
    assert case.told == ["a"]


def test_turn_enforces_what_the_timer_has_not_seen_yet() -> None:
    """Before every turn's writes: a credential has expired exactly at its moment, and not a moment before."""
    case = Case()
    case.deadlines.set("a", NOW + 100, case.note("a"))
    case.clock.now = NOW + 100 - 1e-6
    case.deadlines.enforce()
    assert case.told == []
    case.clock.now = NOW + 100
    case.deadlines.enforce()
    assert case.told == ["a"]
    case.deadlines.enforce()
    assert case.told == ["a"]


def test_clock_that_is_set_back_does_not_end_streams_early() -> None:
    """The token says a wall-clock time; that is when it ends, an hour later by the loop."""
    case = Case()
    case.deadlines.set("a", NOW + 2, case.note("a"))
    case.clock.now -= 3600
    case.timers.advance(60)
    assert case.told == []
    case.clock.now = NOW + 2
    case.timers.advance(RECHECK_SECONDS)
    assert case.told == ["a"]


def test_timer_that_fires_early_waits_again() -> None:
    """Loops round their timers; a callback must not come before its moment because of that."""
    case = Case()
    case.deadlines.set("a", NOW + 0.5, case.note("a"))
    case.clock.now = NOW + 0.499
    case.timers.advance(0.5)
    assert case.told == []
    case.clock.now = NOW + 0.5
    case.timers.advance(0.0011)
    assert case.told == ["a"]


def test_callback_may_set_and_discard() -> None:
    """The ``expiring`` notice sets the ``expired`` one, for the same key; one stream's end may end another."""
    case = Case()

    def expiring() -> None:
        case.told.append("expiring")
        case.deadlines.set("a", NOW + 0.3, case.note("expired"))
        case.deadlines.discard("b")

    case.deadlines.set("a", NOW + 0.1, expiring)
    case.deadlines.set("b", NOW + 0.1, case.note("b"))
    case.pass_time(1)
    assert case.told == ["expiring", "expired"]


def test_deadline_set_in_the_past_by_a_callback_comes_in_the_same_turn() -> None:
    """A late loop: notice and end are both due."""
    case = Case()
    case.deadlines.set("a", NOW, lambda: case.deadlines.set("a", NOW, case.note("expired")))
    case.deadlines.enforce()
    assert case.told == ["expired"]


def test_no_timer_runs_when_nothing_is_set() -> None:
    """An idle server stays idle."""
    case = Case()
    case.deadlines.set("a", NOW + 0.1, case.note("a"))
    case.pass_time(2)
    assert case.timers.due == []


@pytest.mark.parametrize("discard", [False, True], ids=["set again", "set and discarded"])
def test_what_was_replaced_takes_no_memory_until_its_time_would_come(discard: bool) -> None:
    """A client that renews its token 20 times a second for a day, or a million short connections."""
    case = Case()
    for number in range(10):
        case.deadlines.set(number, NOW + 86_400, case.note(number))
    moments: list[weakref.ref[Moment]] = []
    for number in range(20_000):
        key = ("short", number) if discard else "renewing"
        at = Moment(NOW + 80_000)
        moments.append(weakref.ref(at))
        case.deadlines.set(key, at, case.note(key))
        if discard:
            case.deadlines.discard(key)
    at = Moment()
    assert len(case.deadlines) == (10 if discard else 11)
    assert held(moments) < 100
    case.clock.now += 86_400
    case.deadlines.enforce()
    assert case.told == ([] if discard else ["renewing"]) + list(range(10))


def test_sockets_that_all_go_at_once_leave_next_to_nothing() -> None:
    """Ten thousand tokens of a day, and every connection lost in the first hour."""
    case = Case()
    moments: list[weakref.ref[Moment]] = []
    for number in range(10_000):
        at = Moment(NOW + 86_400 + number)
        moments.append(weakref.ref(at))
        case.deadlines.set(number, at, case.note(number))
    at = Moment()
    assert held(moments) == 10_000
    for number in range(10_000):
        case.deadlines.discard(number)
    assert held(moments) <= 64


@pytest.mark.parametrize("recheck", [0.25, 5.0])
def test_look_at_the_wall_clock_is_as_often_as_the_caller_says(recheck: float) -> None:
    """A limit is a value: no timer is longer than it, and a jump is noticed within it."""
    case = Case(recheck)
    case.deadlines.set("a", NOW + 3600, case.note("a"))
    assert case.timers.due == [recheck]
    case.clock.now += 3600
    case.timers.advance(recheck)
    assert case.told == ["a"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-20, 300) | st.none()) | st.integers(-100, 200), max_size=30)
)
def test_whatever_the_clock_does_nothing_comes_early_or_more_than_a_second_late(
    steps: list[tuple[str, int | None] | int],
) -> None:
    """Against a plain dict, in hundredths of a second: sets, discards and clock steps both ways."""
    case = Case()
    current: dict[str, float] = {}

    def due(key: str) -> Callable[[], None]:
        def callback() -> None:
            assert current.pop(key) <= case.clock.now

        return callback

    for step in steps:
        if isinstance(step, int):
            case.clock.now += step / 100
            case.timers.advance(RECHECK_SECONDS)
            assert all(at > case.clock.now for at in current.values())
        elif step[1] is None:
            current.pop(step[0], None)
            case.deadlines.discard(step[0])
        else:
            current[step[0]] = case.clock.now + step[1] / 100
            case.deadlines.set(step[0], current[step[0]], due(step[0]))
        assert len(case.deadlines) == len(current)


def test_callback_that_fails_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A bug at one deadline is logged; what is due with it and after it comes all the same, and nothing is raised."""
    case = Case()

    def fail() -> None:
        raise ZeroDivisionError

    case.deadlines.set("bad", NOW + 1, fail)
    case.deadlines.set("same", NOW + 1, case.note("same"))
    case.deadlines.set("later", NOW + 3, case.note("later"))
    case.clock.now += 1
    case.deadlines.enforce()
    assert case.told == ["same"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    case.pass_time(2.5)
    assert case.told == ["same", "later"]
