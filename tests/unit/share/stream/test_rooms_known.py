"""What viewers are shown when their room opens: what was known before."""

from __future__ import annotations

import orjson
import pytest

from bridge.core.times import timestamp
from tests.fakes import event
from tests.unit.share.stream.channels import NOW, fix, lasts, lats, network_made
from tests.unit.share.stream.houses import House, Watcher


def test_viewers_are_shown_what_is_known_when_the_room_opens() -> None:
    """The last-known position, if it was both measured and received after the start."""
    for time, starts, expected in (
        (-1.0, 0.0, None),
        (0.0, 0.0, 1.0),
        (None, 0.0, 1.0),
        (None, 6.0, None),
        (20.0, 6.0, None),  # a clock that is ahead does not carry it over the start
        (20.0, 5.0, 1.0),
    ):
        house = House()
        house.timers.advance(5.0)
        house.publish(fix("A", 1.0, time))
        house.timers.advance(25.0)
        _, room = house.share(starts_at=NOW + starts)
        assert lasts(room.channel) == [expected]
        assert lats(Watcher(house, room).transport) == ([] if expected is None else [expected])


def test_what_is_known_is_from_when_it_was_received() -> None:
    """Where the device gives no time, or one that is ahead of ours."""
    for time in (None, 20.0):
        house = House()
        house.timers.advance(5.0)
        house.publish(fix("A", 1.0, time))
        house.timers.advance(25.0)
        _, room = house.share(starts_at=None)
        ((_, body),) = room.channel.last()
        assert orjson.loads(body or b"")["time"] == timestamp(NOW + 5.0)


@pytest.mark.parametrize("skew", [-7200.0, -28.0, 28.0, 86_400.0])
def test_clock_that_was_wrong_when_it_was_received_changes_nothing(skew: float) -> None:
    """A machine whose clock has no battery starts with a wrong one and is set later: what counts is how long ago."""
    for time, since_opening, expected in (
        (None, 0.0, None),
        (None, -24.9, None),
        (None, -25.1, 1.0),
        (5.0, -25.1, 1.0),
    ):
        house = House()
        house.timers.advance(5.0)
        house.publish(fix("A", 1.0, None if time is None else time + skew))
        house.timers.advance(25.0)
        house.skew = skew
        _, room = house.share(starts_at=house.clock() + since_opening)
        assert lasts(room.channel) == [expected]
        _, room = house.share("s2", starts_at=None)
        ((_, body),) = room.channel.last()
        assert orjson.loads(body or b"")["time"] == timestamp(NOW + skew + 5.0)


def test_what_is_known_is_shown_whoever_says_so_and_waits_for_the_delay() -> None:
    """Counted from when it was received; what has waited long enough is there at once."""
    house = House()
    house.publish(fix("B", 1.0, 0), network_made(5.0, 0), event("B", "{}"))
    house.timers.advance(4.0)
    _, room = house.share(delay_s=10.0)
    house.timers.advance(5.9)
    assert lasts(room.channel) == [None]
    house.timers.advance(0.2)
    assert lasts(room.channel) == [5.0]
    _, room = house.share("s2", delay_s=10.0)
    assert lasts(room.channel) == [5.0]


def test_share_that_begins_later_is_not_shown_what_was_before() -> None:
    """Neither at its opening nor when it begins."""
    house = House()
    house.publish(fix("A", 1.0, 0))
    _, room = house.share(starts_at=NOW + 10)
    house.publish(fix("A", 2.0, 15))
    house.timers.advance(20.0)
    assert lasts(room.channel) == [None]
    assert lats(Watcher(house, room).transport) == []
