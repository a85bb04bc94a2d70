"""Arrival, new aliases, losses, and a bug in one channel."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.telemetry import Fix, Position, Telemetry
from share.model.grant import Destination
from tests.fakes import Transport
from tests.unit.share.stream.channels import TWO, Case, fix, lasts, lats, network_made, shown

GOAL = Destination(5.0, 10.0, 100.0)

# --- arrival ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lat, arrivals", [(5.0, 1), (5.00089, 1), (5.00091, 0)])
def test_arrival_is_within_the_radius_of_the_exact_position(lat: float, arrivals: int) -> None:
    """Whatever the grid shows, and in a separate turn: the position itself is shown before."""
    case = Case()
    viewer = case.viewer(case.open(destination=GOAL, end_on_arrival=True, precision_m=10_000.0))
    case.publish(fix("A", lat))
    assert (case.arrivals, len(lats(viewer))) == (0, 1)
    case.timers.advance(0.0)
    assert case.arrivals == arrivals


def test_arrival_is_told_once_and_only_when_all_have_come() -> None:
    """Each device once at the goal counts, also when it has gone on since."""
    case = Case()
    case.open(TWO, destination=GOAL, end_on_arrival=True)
    case.publish(fix("A", 5.0))
    case.publish(fix("A", 6.0))
    case.timers.advance(1.0)
    assert case.arrivals == 0
    case.publish(fix("B", 5.0), fix("B", 5.0))
    case.publish(fix("B", 5.0))
    case.timers.advance(1.0)
    case.publish(fix("B", 5.0))
    case.timers.advance(1.0)
    assert case.arrivals == 1


@pytest.mark.parametrize("terms", [{"destination": GOAL}, {"end_on_arrival": True}, {}])
def test_no_arrival_without_both_a_destination_and_the_wish(terms: dict[str, Any]) -> None:
    """A destination may be there for the map alone."""
    case = Case()
    case.open(**terms)
    case.publish(fix("A", 5.0))
    case.timers.advance(1.0)
    assert (case.arrivals, case.timers.due) == (0, [])


def test_arrival_is_when_it_is_shown() -> None:
    """Not when it is received; what never is shown never arrives."""
    case = Case()
    case.open(destination=GOAL, end_on_arrival=True, delay_s=60.0)
    case.publish(fix("A", 5.0, 0), fix("A", 4.0, 0))  # one step of the delay: the second takes the first one's place
    case.timers.advance(61.0)
    case.publish(fix("A", 5.0, 400 + case.timers.now), fix("A", 5.0, -1000), fix("B", 5.0))
    case.timers.advance(61.0)
    assert case.arrivals == 0
    case.publish(fix("A", 5.0))
    case.timers.advance(59.9)
    assert case.arrivals == 0
    case.timers.advance(0.2)
    assert case.arrivals == 1


def test_nothing_arrives_after_the_end() -> None:
    """A channel that is closed is done."""
    case = Case()
    channel = case.open(destination=GOAL, end_on_arrival=True, delay_s=1.0)
    case.publish(fix("A", 5.0))
    channel.close()
    case.timers.advance(10.0)
    assert case.arrivals == 0


# --- aliases ------------------------------------------------------------------------------------------------------


def test_new_alias_holds_for_what_comes_and_what_waits_for_its_delay() -> None:
    """What is written already stays what it was; the other device keeps its own."""
    case = Case()
    channel = case.open(TWO, delay_s=10.0)
    viewer = case.viewer(channel)
    case.publish(fix("A", 1.0), fix("B", 2.0))
    channel.rename({"A": "Bus"})
    case.timers.advance(10.0)
    assert shown(viewer) == [("Bus", 1.0), ("Van 2", 2.0)]
    assert [alias for alias, _ in channel.last()] == ["Bus", "Van 2"]


def test_gap_of_a_delayed_share_names_nobody() -> None:
    """That messages were lost now tells that the device sends now; without a delay the gap names the alias."""
    case = Case()
    delayed, prompt = case.open(delay_s=10.0), case.open()
    viewers = case.viewer(delayed), case.viewer(prompt)
    case.broker.lost({"A": 3}, 0)
    assert viewers[0].writes == 0
    (gap,) = viewers[1].events()
    assert gap["data"]["devices"] == {"Van 1": 3}
    prompt.rename({"A": "Bus"})
    assert (delayed.name_of("A"), prompt.name_of("A")) == (None, "Bus")


def test_frames_that_wait_for_a_slow_viewer_keep_the_alias_that_they_were_made_with() -> None:
    """In the order of their making; the gap names what was missed by the same aliases."""
    case = Case()
    channel = case.open()
    viewer = case.viewer(channel)
    viewer.fill()
    case.publish(fix("A", 1.0))
    case.publish(fix("A", 2.0))
    channel.rename({"A": "Bus"})
    case.publish(fix("A", 3.0))
    case.read(viewer)
    gap, *messages = viewer.events()
    assert gap["data"]["devices"] == {"Van 1": 1}
    assert [(one["alias"], one["data"]["lat"]) for one in messages] == [("Van 1", 2.0), ("Bus", 3.0)]


# --- slow viewers -------------------------------------------------------------------------------------------------


def test_slow_viewer_ends_with_the_device_that_speaks_for_itself() -> None:
    """Also where a fix is older than what a network said while it waited: as ``init`` and the others have it."""
    case = Case()
    channel = case.open()
    viewer = case.viewer(channel)
    viewer.fill()
    case.publish(network_made(1.0, 0))
    case.publish(fix("A", 2.0, -10))
    case.read(viewer)
    assert (lats_shown(viewer), lasts(channel)) == ([2.0], [2.0])


def test_slow_viewer_ends_with_the_newest_when_our_clock_was_set_back() -> None:
    """What waits is as of the clock before: it does not keep the newer position from taking its place."""
    case = Case()
    channel = case.open()
    viewer = case.viewer(channel)
    viewer.fill()
    case.publish(fix("A", 1.0))
    case.skew = -3600.0
    case.publish(fix("A", 2.0))
    case.read(viewer)
    assert (lats_shown(viewer), lasts(channel)) == ([2.0], [2.0])


def lats_shown(viewer: Transport) -> list[float]:
    """Latitudes of the messages that came, whatever gaps were told."""
    return [one["data"]["lat"] for one in viewer.events() if one["event"] == "message"]


# --- losses -------------------------------------------------------------------------------------------------------


def test_loss_at_the_door_is_told_by_alias() -> None:
    """Of the share's own devices; no id, and nothing of others but that it may be incomplete."""
    case = Case()
    channel = case.open((("tracker-7", "Van 1"), ("tracker-8", "Van 2")))
    viewer = case.viewer(channel)
    case.broker.lost({"tracker-7": 3, "tracker-9": 5}, 0)
    case.broker.lost({"tracker-9": 5}, 0)
    assert b"tracker" not in viewer.data
    (gap,) = viewer.events()
    assert (gap["data"]["devices"], gap["data"]["count"]) == ({"Van 1": 3}, 3)
    case.broker.lost({"tracker-9": 5}, 7)
    assert b"tracker" not in viewer.data
    (gap,) = viewer.events()
    assert (gap["data"]["devices"], gap["data"]["incomplete"]) == ({}, True)


def test_loss_is_told_under_the_new_alias() -> None:
    """From the change on."""
    case = Case()
    channel = case.open()
    viewer = case.viewer(channel, full=True)
    channel.rename({"A": "Bus"})
    case.broker.lost({"A": 2}, 0)
    case.read(viewer)
    assert [one["data"]["devices"] for one in viewer.events()] == [{"Bus": 2}]


# --- a bug --------------------------------------------------------------------------------------------------------


class BrokenDetails:
    """A bug in what reads the rest of a position."""

    def position(self, payload: bytes, fix: Fix) -> Position:
        raise ZeroDivisionError


@pytest.mark.parametrize("delay_s", [0.0, 10.0])
def test_bug_in_one_channel_costs_the_others_nothing_and_itself_one_turn(delay_s: float) -> None:
    """The error is raised when all others have their frames; the next turn is as if nothing had been."""
    case = Case()
    broken, sound = case.open(TWO, delay_s=delay_s), case.open((("A", "Bus"),))
    viewers = case.viewer(broken), case.viewer(sound)

    with pytest.raises(ZeroDivisionError):
        case.publish(Telemetry("B", b"{}", fix=Fix(1.0, 2.0), details=BrokenDetails()), fix("A", 1.0))
    assert [lats(viewer) for viewer in viewers] == [[], [1.0]]
    assert case.broker.tally.delivered == 1
    case.publish(fix("A", 2.0))
    case.timers.advance(delay_s)
    assert [lats(viewer) for viewer in viewers] == [[2.0], [2.0]]
    assert case.broker.tally.delivered == 3
