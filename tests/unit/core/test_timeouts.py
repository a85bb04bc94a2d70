"""So many seconds for many things at once, with one timer for all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.timeouts import Timeouts
from tests.fakes import Timers

SECONDS = 10.0


class Case:
    """Timeouts on a loop whose time goes when a test moves it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.timers = Timers()
        self.expired: list[str] = []
        self.then: Callable[[str], None] = lambda _: None
        self.timeouts = Timeouts[str](
            seconds, self._expired, monotonic=lambda: self.timers.now, call_later=self.timers
        )  # fmt: skip

    def _expired(self, member: str) -> None:
        self.expired.append(member)
        self.then(member)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 30.0])
def test_member_expires_when_its_time_is_over_and_not_before(seconds: float) -> None:
    """Once, and then it is a member no more."""
    case = Case(seconds)
    case.timeouts.add("a")
    assert ("a" in case.timeouts, len(case.timeouts), case.timeouts.seconds) == (True, 1, seconds)
    if seconds:
        case.timers.advance(seconds - 0.01)
        assert case.expired == []
    case.timers.advance(0.01)
    assert case.expired == ["a"]
    assert ("a" in case.timeouts, len(case.timeouts)) == (False, 0)
    case.timers.advance(5 * seconds + 1)
    assert case.expired == ["a"]


def test_each_has_its_own_time() -> None:
    """From its own beginning; those that began together end together, in the order in which they came."""
    case = Case()
    case.timeouts.add("a")
    case.timers.advance(4)
    case.timeouts.add("b")
    case.timeouts.add("c")
    case.timers.advance(6)
    assert case.expired == ["a"]
    case.timers.advance(3.9)
    assert case.expired == ["a"]
    case.timers.advance(0.1)
    assert case.expired == ["a", "b", "c"]


def test_one_timer_runs_for_all_and_none_for_nobody() -> None:
    """Ten thousand that wait cost one timer; an idle server stays idle."""
    case = Case()
    assert case.timers.due == []
    for number in range(10_000):
        case.timeouts.add(f"m{number}")
    assert case.timers.due == [SECONDS]
    for number in range(10_000):
        case.timeouts.discard(f"m{number}")
    case.timers.advance(SECONDS)
    assert (case.expired, case.timers.due) == ([], [])


def test_discarded_member_never_expires() -> None:
    """What was waited for came; the one after it is not late because of that. Discarding a stranger hurts nobody."""
    case = Case()
    case.timeouts.add("a")
    case.timers.advance(1)
    case.timeouts.add("b")
    case.timeouts.discard("a")
    case.timeouts.discard("stranger")
    case.timers.advance(9.99)
    assert case.expired == []
    case.timers.advance(0.02)
    assert case.expired == ["b"]


def test_adding_again_gives_the_whole_time_again() -> None:
    """Whatever it had before, and whoever came between."""
    case = Case()
    case.timeouts.add("a")
    case.timers.advance(5)
    case.timeouts.add("b")
    case.timers.advance(1)
    case.timeouts.add("a")
    assert len(case.timeouts) == 2
    case.timers.advance(9)
    assert case.expired == ["b"]
    case.timers.advance(1)
    assert case.expired == ["b", "a"]


def test_timer_that_fires_early_waits_again() -> None:
    """Loops round their timers; nobody's time is cut short because of that."""
    early = Timers()
    expired: list[str] = []
    now = 0.0
    timeouts = Timeouts[str](SECONDS, expired.append, monotonic=lambda: now, call_later=early)
    timeouts.add("a")
    now = SECONDS - 0.001
    early.advance(SECONDS)
    assert expired == []
    assert early.due == [pytest.approx(0.001)]
    now = SECONDS
    early.advance(0.002)
    assert expired == ["a"]


def test_one_that_expires_may_discard_and_add() -> None:
    """One that is due with it and was discarded does not expire; one that was added anew has its whole time."""
    case = Case()
    for member in "abcd":
        case.timeouts.add(member)

    def then(member: str) -> None:
        if member == "a" and len(case.expired) == 1:
            case.timeouts.discard("b")
            case.timeouts.add("c")
            case.timeouts.add("a")

    case.then = then
    case.timers.advance(SECONDS)
    assert case.expired == ["a", "d"]
    case.timers.advance(SECONDS - 0.01)
    assert case.expired == ["a", "d"]
    case.timers.advance(0.01)
    assert case.expired == ["a", "d", "c", "a"]
    assert len(case.timeouts) == 0


def test_one_that_expires_does_not_cost_a_look_at_all_that_wait() -> None:
    """A thousand that came one after the other: each end looks at its own and at the next one."""
    looks = 0

    class Moment(float):
        def __add__(self, other: float) -> Moment:
            return Moment(float(self) + other)

        def __le__(self, other: float) -> bool:
            nonlocal looks
            looks += 1
            return float(self) <= float(other)

        __hash__ = float.__hash__

    timers = Timers()
    expired: list[int] = []
    timeouts = Timeouts[int](SECONDS, expired.append, monotonic=lambda: Moment(timers.now), call_later=timers)
    for number in range(1000):
        timeouts.add(number)
        timers.advance(0.005)
    timers.advance(SECONDS)
    assert expired == list(range(1000))
    assert 1000 <= looks <= 4 * 1000


steps = st.tuples(st.sampled_from(["add", "discard"]), st.sampled_from("abc")) | st.floats(0, 3).map(
    lambda seconds: ("pass", round(seconds, 2))
)


@given(st.lists(steps, max_size=40))
def test_whatever_happens_nobody_expires_early_or_late(script: list[tuple[str, str | float]]) -> None:
    """Against a plain dict of deadlines."""
    case = Case(2.0)
    deadlines: dict[str, float] = {}

    def then(member: str) -> None:
        assert case.timers.now == pytest.approx(deadlines.pop(member))

    case.then = then
    for verb, what in script:
        if isinstance(what, str):
            if verb == "add":
                case.timeouts.add(what)
                deadlines[what] = case.timers.now + 2.0
            else:
                case.timeouts.discard(what)
                deadlines.pop(what, None)
        else:
            case.timers.advance(what)
            assert all(at > case.timers.now for at in deadlines.values())
        assert len(case.timeouts) == len(deadlines)
        assert all(member in case.timeouts for member in deadlines)
