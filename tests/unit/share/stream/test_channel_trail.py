"""What one who comes is shown of the way so far."""

from __future__ import annotations

import pytest

from bridge.core.limits import CHUNK_BYTES
from share.stream.channel import REPLAY_POSITIONS, TRAIL_STEP_M
from tests.unit.share.stream.channels import TWO, Case, fix, lats, shown

METRE = 1 / 111_195
"""Degrees of latitude."""


def drive(case: Case, count: int, first: float = 1.0, device_id: str = "A") -> list[float]:
    """``count`` positions, 111 m apart."""
    places = [round(first + number / 1000, 3) for number in range(count)]
    for lat in places:
        case.publish(fix(device_id, lat))
    return places


def test_newcomer_is_shown_trail_and_last_position_as_replays() -> None:
    """In order, with the ids that they had live; and the next live one carries no mark."""
    case = Case()
    channel = case.open(trail=10)
    early = case.viewer(channel)
    places = drive(case, 4)
    live = early.events()
    late = case.viewer(channel)
    replayed = late.events()
    assert [one.pop("replay") for one in replayed] == [True] * 4
    assert replayed == live
    assert [one["data"]["lat"] for one in live] == places
    case.publish(fix("A", 2.0))
    (next_one,) = late.events()
    assert "replay" not in next_one
    assert next_one == early.events()[0]


@pytest.mark.parametrize("trail, expected", [(0, 1), (1, 2), (5, 6), (500, 40)])
def test_trail_has_so_many_positions_beside_the_last(trail: int, expected: int) -> None:
    """The newest ones; 0 leaves the last alone."""
    case = Case()
    channel = case.open(trail=trail)
    places = drive(case, 40)
    assert lats(case.viewer(channel)) == places[-expected:]


def test_positions_close_to_each_other_are_one_of_the_trail() -> None:
    """At least TRAIL_STEP_M apart, measured from the last that was kept; the last position is always there."""
    case = Case()
    channel = case.open(trail=100)
    offsets = [0, 5, TRAIL_STEP_M - 0.5, TRAIL_STEP_M + 0.5, TRAIL_STEP_M + 20, 2 * TRAIL_STEP_M + 1, 52, 53]
    for metres in offsets:
        case.publish(fix("A", 1.0 + metres * METRE))
    kept = [round((lat - 1.0) / METRE, 1) for lat in lats(case.viewer(channel))]
    assert kept == pytest.approx([0, TRAIL_STEP_M + 0.5, 2 * TRAIL_STEP_M + 1, 53], abs=0.2)


def test_a_day_in_one_place_does_not_eat_up_the_trail() -> None:
    """Neither with the receiver's jitter nor on a grid."""
    for precision_m in (0.0, 100.0):
        case = Case()
        channel = case.open(trail=5, precision_m=precision_m)
        drive(case, 5)
        before = lats(case.viewer(channel))
        for number in range(100):
            case.publish(fix("A", 1.004 + number % 3 * METRE))
        assert lats(case.viewer(channel))[:4] == before[:4]


def test_trail_is_shown_under_the_name_of_now() -> None:
    """After a change of aliases the old ones are not told to newcomers."""
    case = Case()
    channel = case.open(TWO, trail=5)
    drive(case, 2)
    drive(case, 1, 7.0, "B")
    channel.rename({"A": "Bus"})
    assert {alias for alias, _ in shown(case.viewer(channel))} == {"Bus", "Van 2"}


def test_long_trail_is_written_in_parts() -> None:
    """A socket has no more than a chunk and one part waiting, however long the trails are; and all of it comes."""
    case = Case()
    channel = case.open(TWO, trail=500)
    places = drive(case, 500), drive(case, 500, 5.0, "B")
    subscription, viewer = case.join(channel, full=True)
    viewer.drain(stuck=True)
    first = len(viewer.data)
    assert 0 < first <= CHUNK_BYTES + REPLAY_POSITIONS * 300
    case.read(viewer)
    written = shown(viewer)
    assert [lat for alias, lat in written if alias == "Van 1"] == places[0]
    assert [lat for alias, lat in written if alias == "Van 2"] == places[1]
    assert (case.timers.due, subscription.behind) == ([], False)


def test_slow_newcomer_ends_with_the_newest() -> None:
    """What came live before its trail does not leave the trail as the last word, and no place twice but by its id."""
    case = Case()
    channel = case.open(trail=100)
    places = drive(case, 3)
    viewer = case.viewer(channel, full=True)
    places += drive(case, 3, 2.0)
    case.read(viewer)
    events = [one for one in viewer.events() if one["event"] == "message"]
    replayed = [one for one in events if "replay" in one]
    assert [one["data"]["lat"] for one in replayed] == places
    assert events[-1] == replayed[-1]
    by_id = {one["id"]: one["data"] for one in events}
    assert len(by_id) == 6
    assert sorted(by_id, key=lambda name: int(name.split("-")[1])) == [one["id"] for one in replayed]
    case.publish(fix("A", 9.0))
    assert lats(viewer) == [9.0]


def test_busy_device_does_not_keep_the_others_from_being_shown() -> None:
    """It moves on between two looks at a slow socket: its own newest place is enough."""
    case = Case()
    channel = case.open(TWO, trail=REPLAY_POSITIONS - 1)
    drive(case, 1, 7.0, "B")
    drive(case, REPLAY_POSITIONS)
    parts = channel.known()
    devices = []
    for number in range(5):
        part = next(parts, None)
        if part is not None:
            devices.append(len(part))
        drive(case, 1, 3.0 + number)
    assert devices == [REPLAY_POSITIONS, 1, 1]
