"""The delay: never too early, bounded while it waits, and the newest comes in the end."""

from __future__ import annotations

import pytest

from share.stream.channel import HELD_POSITIONS
from tests.unit.share.stream.channels import TWO, Case, fix, lasts, lats, shown


@pytest.mark.parametrize("waited, expected", [(9.999, []), (10.0, [1.0])])
def test_position_is_shown_when_its_delay_has_passed_and_not_before(waited: float, expected: list[float]) -> None:
    """To the live viewer, to one who comes, and to ``init``; however often the broker has a turn."""
    case = Case()
    channel = case.open(delay_s=10.0)
    viewer = case.viewer(channel)
    case.publish(fix("A", 1.0))
    for _ in range(9):
        case.timers.advance(1.0)
        case.publish(fix("other", 9.0))
    case.timers.advance(waited - 9.0)
    case.broker.render(channel.selection)
    assert lats(viewer) == expected
    assert lats(case.viewer(channel)) == expected
    assert lasts(channel) == [expected[0] if expected else None]


def test_one_timer_waits_and_none_when_nothing_does() -> None:
    """Also with several devices and many positions."""
    case = Case()
    viewer = case.viewer(case.open(TWO, delay_s=10.0))
    for number in range(5):
        case.publish(fix("A", 1.0 + number), fix("B", 11.0 + number))
        case.timers.advance(1.0)
    assert case.timers.due == [pytest.approx(5.0)]
    case.timers.advance(7.0)
    assert shown(viewer) == [
        ("Van 1", 1.0), ("Van 2", 11.0), ("Van 1", 2.0), ("Van 2", 12.0), ("Van 1", 3.0), ("Van 2", 13.0),
    ]  # fmt: skip
    case.timers.advance(3.0)
    assert len(shown(viewer)) == 4
    assert case.timers.due == []


def test_timer_that_comes_a_hair_early_is_set_again() -> None:
    """A loop's timers may, by its clock's resolution: then nothing is shown yet, and nothing is lost."""
    case = Case()
    viewer = case.viewer(case.open(delay_s=10.0))
    case.publish(fix("A", 1.0))
    (timer,) = case.timers.waiting
    timer.at -= 0.001
    case.timers.advance(9.9995)
    assert lats(viewer) == []
    case.timers.advance(0.0005)
    assert lats(viewer) == [1.0]


def test_time_that_is_shown_is_that_of_the_receipt() -> None:
    """And not that of the release."""
    case = Case()
    viewer = case.viewer(case.open(delay_s=10.0))
    case.publish(fix("A", 1.0), fix("A", 2.0, 5))
    case.timers.advance(20.0)
    assert {one["data"]["time"] for one in viewer.events()} == {"2030-03-17T17:46:40.000Z"}


@pytest.mark.parametrize("seconds", [60.0, 150.0])
@pytest.mark.parametrize("rate", [1.0, 10.0, 37.0])
def test_what_waits_is_bounded_and_the_newest_is_shown_in_the_end(rate: float, seconds: float) -> None:
    """At any rate: several of one step are thinned to the newest, in order, none earlier than its own delay."""
    case = Case()
    channel = case.open(delay_s=60.0)
    viewer = case.viewer(channel)
    received: dict[float, float] = {}
    last = 0.0
    for number in range(int(rate * seconds)):
        last = round(number / 1000, 3)
        received[last] = case.timers.now
        case.publish(fix("A", last + 1.0))
        case.timers.advance(1 / rate)
        for lat in lats(viewer):
            assert case.timers.now - received[round(lat - 1.0, 3)] >= 60.0
    case.timers.advance(61.0)
    rest = lats(viewer)
    assert len(rest) <= HELD_POSITIONS
    assert rate < 10 or seconds > 60 or len(rest) > HELD_POSITIONS * 0.8
    assert rest == sorted(rest)
    assert rest[-1] == round(last + 1.0, 3)


def test_bound_holds_when_the_last_of_each_step_comes_late() -> None:
    """Then each waits for nearly a step more than the delay."""
    case = Case()
    channel = case.open(delay_s=600.0)
    viewer = case.viewer(channel)
    for _ in range(700):
        for seconds in (0.875, 0.125):
            case.publish(fix("A", 1.0))
            case.timers.advance(seconds)
    viewer.data = b""
    case.timers.advance(600.0)
    assert len(lats(viewer)) == HELD_POSITIONS


def test_flood_within_a_step_goes_on_being_shown() -> None:
    """A newer one that takes another's place does not put it off for ever."""
    case = Case()
    viewer = case.viewer(case.open(delay_s=6.0))
    for number in range(2000):
        case.publish(fix("A", 1 + number / 1000))
        case.timers.advance(0.005)
    assert 250 <= len(lats(viewer)) <= 450


def test_each_device_waits_for_itself() -> None:
    """A busy one does not thin out the others."""
    case = Case()
    viewer = case.viewer(case.open(TWO, delay_s=600.0))
    case.publish(fix("B", 50.0), *(fix("A", 1 + number / 100) for number in range(50)))
    case.timers.advance(600.0)
    assert shown(viewer) == [("Van 1", 1.49), ("Van 2", 50.0)]


def test_who_joins_sees_what_is_released_and_no_more() -> None:
    """Trail, last position and ``init``; what waits comes live, at its time."""
    case = Case()
    channel = case.open(delay_s=10.0, trail=10)
    case.publish(fix("A", 1.0))
    case.timers.advance(6.0)
    case.publish(fix("A", 2.0))
    case.timers.advance(4.0)
    late = case.viewer(channel)
    assert lats(late) == [1.0]
    assert lasts(channel) == [1.0]
    case.timers.advance(5.75)
    assert lats(late) == []
    case.timers.advance(0.25)
    assert lats(late) == [2.0]


def test_nothing_is_shown_after_the_end() -> None:
    """What waited is gone, for viewers and for ``init``; the timer that is still there does nothing."""
    case = Case()
    channel = case.open(delay_s=10.0, trail=5)
    viewer = case.viewer(channel)
    case.publish(fix("A", 1.0))
    case.timers.advance(10.0)
    case.publish(fix("A", 2.0))
    channel.close()
    case.timers.advance(100.0)
    assert lats(viewer) == [1.0]
    assert lasts(channel) == [None]
    assert lats(case.viewer(channel)) == []
    case.broker.release(channel.selection)
    assert case.timers.due == []


def test_deadlines_come_before_a_delayed_release() -> None:
    """A share, or a token, that has expired at that moment gets nothing of it."""
    case = Case()
    channel = case.open(delay_s=10.0)
    (subscription, ending), staying = case.join(channel), case.viewer(channel)

    def enforce() -> None:
        if case.timers.now >= 10.0:
            case.broker.forget(subscription)

    case.before_turn = enforce
    case.publish(fix("A", 1.0))
    case.timers.advance(10.0)
    assert (lats(ending), lats(staying)) == ([], [1.0])


def test_end_of_the_share_by_its_own_release_turn_shows_nothing() -> None:
    """The deadline may close the very channel that is about to release."""
    case = Case()
    channel = case.open(delay_s=10.0)
    viewer = case.viewer(channel)
    case.publish(fix("A", 1.0))

    def enforce() -> None:
        case.before_turn = lambda: None
        channel.close()
        case.broker.release(channel.selection)

    case.before_turn = enforce
    case.timers.advance(10.0)
    assert lats(viewer) == []
    assert case.timers.due == []
