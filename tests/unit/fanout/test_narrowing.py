"""A narrower selection reaches what already waits."""

from __future__ import annotations

from bridge.core.limits import LOW_WATER_BYTES
from tests.fakes import event, position
from tests.unit.fanout.test_broker import Case, ids


def test_what_waits_for_a_device_that_is_no_longer_selected_is_forgotten() -> None:
    """Not even queued messages come of a device that a new token does not allow, and no gap names it."""
    case = Case()
    subscription, transport = case.subscriber("A", "B", "truck-*", messages=4)
    transport.buffered = LOW_WATER_BYTES * 10
    case.broker.publish([event("B"), event("A"), position("B"), event("truck-1"), event("A"), event("B")])
    assert subscription.waiting[0] == 4
    case.broker.select(subscription, frozenset({"A", "t*"}))
    assert subscription.waiting[0] == 2
    transport.buffered = 0
    case.timers.advance(1)
    events = transport.events()
    assert [one["event"] for one in events] == ["gap", "message", "message"]
    assert [one["device_id"] for one in events[1:]] == ["truck-1", "A"]
    assert events[0]["data"]["devices"] == {"A": 1}


def test_positions_still_conflate_after_a_narrower_selection() -> None:
    """What is kept is still known by device; what went is not."""
    case = Case()
    subscription, transport = case.subscriber("A", "B")
    transport.buffered = LOW_WATER_BYTES * 10
    case.broker.publish([position("A", "1"), position("B", "2")])
    case.broker.select(subscription, frozenset({"A"}))
    case.broker.publish([position("A", "3"), position("B", "4")])
    assert subscription.waiting[0] == 1
    case.broker.select(subscription, frozenset({"A", "B"}))
    case.broker.publish([position("B", "5")])
    assert subscription.waiting[0] == 2
    transport.buffered = 0
    case.timers.advance(1)
    assert ids(transport) == ["gap", "A-2", "B-3"]
