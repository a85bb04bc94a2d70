"""What becomes of a device's messages on their way to a share's viewers: what, to which of them, and from when on."""

from __future__ import annotations

import pytest

from bridge.core.limits import FUTURE_SECONDS
from bridge.core.telemetry import Kind
from bridge.fanout.rendering import Message
from share.stream.projection import project
from tests.fakes import event
from tests.telemetry import decoded
from tests.unit.share.stream.channels import NOW, TWO, Case, fix, lasts, lats, network_made, shown

# --- projection ---------------------------------------------------------------------------------------------------


def test_message_is_projected_once_however_many_watch() -> None:
    """A hundred viewers cost one projection, and get the very same bytes."""
    case = Case()
    channel = case.open()
    viewers = [case.viewer(channel) for _ in range(100)]
    before = project.cache_info()
    case.publish(fix("A", 1.0, 0), fix("B", 2.0, 0), fix("A", 3.0, 0))
    after = project.cache_info()
    assert after.hits + after.misses - before.hits - before.misses == 2
    assert len({viewer.data for viewer in viewers}) == 1
    assert {viewer.writes for viewer in viewers} == {1}
    assert lats(viewers[0]) == [1.0, 3.0]


def test_turn_of_many_devices_is_one_write_in_their_order() -> None:
    """Whatever else the turn brings; each under its own alias."""
    case = Case()
    viewer = case.viewer(case.open(tuple((f"D{number}", f"Van {number}") for number in range(10))))
    case.publish(fix("other", 50.0), *(fix(f"D{number}", 1.0 + number) for number in reversed(range(10))))
    assert viewer.writes == 1
    assert shown(viewer) == [(f"Van {number}", 1.0 + number) for number in reversed(range(10))]


def test_share_that_nobody_watches_makes_no_frames() -> None:
    """It keeps what newcomers are to be shown, and nothing for viewers that there are not."""
    case = Case()
    channel = case.open(trail=3)
    turn = [Message(fix("A", 1.0 + number), number) for number in range(50)]
    for watched, frames in ((False, 0), (True, 50), (False, 0)):
        channel.watched = watched
        assert len(channel.render(turn, case.clock(), case.monotonic())) == frames
        assert lasts(channel) == [50.0]
        assert list(channel.render((), case.clock(), case.monotonic())) == []


def test_public_event_has_an_id_an_alias_and_the_granted_fields() -> None:
    """Nothing of the raw message but what the grant names; ids grow by one, from somewhere."""
    case = Case()
    channel = case.open(fields=frozenset({"speed_kmh", "time"}))
    viewer = case.viewer(channel)
    case.publish(fix("A", 1.5, -2, speed=47.0, heading=90, secret="A", device={"id": "A"}), fix("A", 2.5, -1))
    first, second = viewer.events()
    epoch, number = first.pop("id").split("-")
    assert second["id"] == f"{epoch}-{int(number) + 1}"
    assert first == {
        "event": "message",
        "alias": "Van 1",
        "data": {"lat": 1.5, "lon": 10.0, "speed_kmh": 47.0, "time": "2030-03-17T17:46:38.000Z"},
    }
    assert set(second["data"]) == {"lat", "lon", "time"}


def test_device_of_two_shares_goes_to_each_in_its_own_form() -> None:
    """One message, two grants: another alias, other fields, another precision; and ids that do not match."""
    case = Case()
    plain, coarse = case.open(), case.open((("A", "Bus"),), fields=frozenset({"speed_kmh"}), precision_m=1000.0)
    left, right = case.viewer(plain), case.viewer(coarse)
    case.publish(fix("A", 1.23456, 0, speed=47))
    (one,), (other,) = left.events(), right.events()
    assert (one["alias"], one["data"]["lat"], one["data"]["speed_kmh"]) == ("Van 1", 1.23456, 47.0)
    assert (other["alias"], set(other["data"]), other["data"]["speed_kmh"]) == (
        "Bus", {"lat", "lon", "speed_kmh"}, 50.0,
    )  # fmt: skip
    assert other["data"]["lat"] != 1.23456
    assert one["id"] != other["id"]


def test_what_has_no_position_is_not_shown() -> None:
    """Other messages, broken ones and other devices: not a byte."""
    case = Case()
    channel = case.open()
    viewer = case.viewer(channel)
    case.publish(event("A", '{"battery": 3}'), event("A", "[]"), decoded(b"{}"), fix("B", 1.0))
    assert (viewer.writes, case.broker.tally.delivered, lasts(channel)) == (0, 0, [None])


def test_what_a_network_says_is_shown_until_the_device_says_where_it_is() -> None:
    """Nothing better is known before; from then on it counts no more, however new it is."""
    case = Case()
    channel = case.open()
    viewer = case.viewer(channel)
    case.publish(network_made(1.0, -2), network_made(2.0, -1))
    assert lats(viewer) == [1.0, 2.0]
    case.publish(fix("A", 3.0, -10), network_made(4.0, 0), fix("A", 5.0, -11))
    assert lats(viewer) == [3.0]
    assert lasts(channel) == [3.0]


def test_what_a_network_said_makes_no_fix_an_old_one() -> None:
    """A fix is held against earlier fixes alone, also when the first of them had no time."""
    case = Case()
    viewer = case.viewer(case.open())
    case.publish(network_made(1.0, 0), fix("A", 2.0), fix("A", 3.0, -10), fix("A", 4.0, -11))
    assert lats(viewer) == [1.0, 2.0, 3.0]


def test_share_made_now_shows_what_a_network_says_where_nothing_better_is_known() -> None:
    """The last-known values of a device are its fix and its last other message, which may be of that kind."""
    case = Case()
    case.publish(network_made(1.0, -2), network_made(9.0, -1))
    assert [one.message.position.lat for one in case.history.of("A") if one.message.position] == [9.0]
    case.publish(fix("A", 3.0, -10))
    assert [one.message.kind for one in case.history.of("A")] == [Kind.EVENT, Kind.POSITION]


# --- the start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early, expected", [(0.001, []), (0.0, [1.0])])
def test_nothing_that_was_received_before_the_start_is_shown(early: float, expected: list[float]) -> None:
    """The edge to the millisecond; not later either, to one who comes after the start."""
    case = Case()
    channel = case.open(starts_at=NOW + 10)
    viewer = case.viewer(channel)
    case.timers.advance(10 - early)
    case.publish(fix("A", 1.0))
    assert lats(viewer) == expected
    case.timers.advance(5)
    assert lats(case.viewer(channel)) == expected
    assert lasts(channel) == [expected[0] if expected else None]


@pytest.mark.parametrize("time, expected", [(-0.001, []), (0.0, [1.0]), (5.0, [1.0])])
def test_nothing_that_was_measured_before_the_start_is_shown(time: float, expected: list[float]) -> None:
    """A device that uploads what it has stored does not tell where it was before."""
    case = Case()
    channel = case.open(starts_at=NOW)
    viewer = case.viewer(channel)
    case.timers.advance(10)
    case.publish(fix("A", 1.0, time))
    assert lats(viewer) == expected


@pytest.mark.parametrize(
    "time, expected",
    [(None, []), (-1.0, []), (0.0, [1.0]), (10.0, [1.0]), (10.001, []), (60.0, [])],
)
def test_retained_message_is_shown_when_its_own_time_is_after_the_start(
    time: float | None, expected: list[float]
) -> None:
    """It may have been received at any time: without a time, or with one that cannot be, nobody knows when."""
    case = Case()
    channel = case.open(starts_at=NOW)
    viewer = case.viewer(channel)
    case.timers.advance(10)
    case.publish(fix("A", 1.0, time, retained=True))
    assert lats(viewer) == expected


def test_retained_message_of_unknown_age_is_shown_where_there_is_no_start_and_nothing_better() -> None:
    """Without a time of our own making; and it never takes the place of another."""
    case = Case()
    channel = case.open()
    viewer = case.viewer(channel)
    case.publish(fix("A", 1.0, retained=True))
    (first,) = viewer.events()
    assert first["data"] == {"lat": 1.0, "lon": 10.0}
    case.publish(fix("A", 2.0))
    case.publish(fix("A", 1.0, retained=True), fix("A", 3.0, 60, retained=True))
    assert lats(viewer) == [2.0]


def test_retained_message_of_unknown_age_does_not_follow_one_that_waits() -> None:
    """The same while the better one waits for its delay."""
    case = Case()
    viewer = case.viewer(case.open(delay_s=60.0))
    case.publish(fix("A", 2.0))
    case.publish(fix("A", 1.0, retained=True))
    case.timers.advance(200)
    assert lats(viewer) == [2.0]


# --- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ahead, expected",
    [(FUTURE_SECONDS + 0.001, None), (FUTURE_SECONDS, 0.0), (1.0, 0.0), (0.0, 0.0), (-3.25, -3.25)],
)
def test_time_ahead_of_ours_is_taken_back_or_not_believed(ahead: float, expected: float | None) -> None:
    """A little ahead is a clock that is not quite right: shown as now. Far ahead is a wrong one: not shown."""
    case = Case()
    viewer = case.viewer(case.open())
    case.publish(fix("A", 1.0, ahead))
    times = [one["data"]["time"] for one in viewer.events()]
    stamps = {0.0: "2030-03-17T17:46:40.000Z", -3.25: "2030-03-17T17:46:36.750Z"}
    assert times == ([] if expected is None else [stamps[expected]])


def test_fix_without_a_time_is_as_old_as_its_receipt() -> None:
    """Known where it came live."""
    case = Case()
    viewer = case.viewer(case.open())
    case.timers.advance(1.5)
    case.publish(fix("A", 1.0))
    assert viewer.events()[0]["data"]["time"] == "2030-03-17T17:46:41.500Z"


def test_older_and_repeated_fixes_are_not_shown() -> None:
    """By the device's time; of the same moment another place counts. Each device has its own past."""
    case = Case()
    viewer = case.viewer(case.open(TWO))
    case.timers.advance(10)
    case.publish(fix("A", 1.0, 5), fix("A", 1.0, 5), fix("A", 2.0, 4.999), fix("A", 3.0, 5), fix("B", 4.0, 1))
    case.publish(fix("A", 3.0, 5), fix("A", 5.0, 6))
    assert shown(viewer) == [("Van 1", 1.0), ("Van 1", 3.0), ("Van 2", 4.0), ("Van 1", 5.0)]


def test_clock_that_is_set_back_does_not_silence_devices_without_a_time() -> None:
    """Only a device's own time can tell that a fix is old."""
    case = Case()
    viewer = case.viewer(case.open())
    case.publish(fix("A", 1.0))
    case.skew = -3600.0
    case.publish(fix("A", 2.0), fix("A", 3.0))
    assert lats(viewer) == [1.0, 2.0, 3.0]


def test_clock_that_is_set_back_before_the_start_silences_all() -> None:
    """The start is a moment of our clock: before it nothing is shown, whatever was before."""
    case = Case()
    viewer = case.viewer(case.open(starts_at=NOW))
    case.publish(fix("A", 1.0))
    case.skew = -60.0
    case.publish(fix("A", 2.0), fix("A", 3.0, 0))
    assert lats(viewer) == [1.0]
