"""A narrower selection reaches what already waits."""

from __future__ import annotations

from tests.fakes import event, position
from tests.unit.fanout.brokers import Case, ids


def test_what_waits_for_a_device_that_is_no_longer_selected_is_forgotten() -> None:
    """Not even queued messages come of a device that a new token does not allow, and no gap names it."""
    case = Case()
    subscription, transport = case.subscriber("A", "B", "truck-*", messages=5)
    transport.fill()
    case.broker.publish([event("B"), event("A"), event("B"), event("A"), event("A"), event("truck-1"), event("B")])
    assert subscription.waiting[0] == 5  # the first of A, and then the first of B, had to go
    case.select(subscription, "A", "t*")
    assert subscription.waiting[0] == 3
    transport.drain()
    events = transport.events()
    assert [one["event"] for one in events] == ["gap", "message", "message", "message"]
    assert [one["device_id"] for one in events[1:]] == ["A", "A", "truck-1"]
    assert events[0]["data"]["devices"] == {"A": 1}


def test_positions_still_conflate_after_a_narrower_selection() -> None:
    """What is kept is still known by device; what went is not."""
    case = Case()
    subscription, transport = case.subscriber("A", "B")
    transport.fill()
    case.broker.publish([position("A", "1"), position("B", "2")])
    case.select(subscription, "A")
    case.broker.publish([position("A", "3"), position("B", "4")])
    assert subscription.waiting[0] == 1
    case.select(subscription, "A", "B")
    case.broker.publish([position("B", "5")])
    assert subscription.waiting[0] == 2
    transport.drain()
    assert ids(transport) == ["gap", "A-2", "B-3"]


def test_selection_of_nothing_leaves_nothing_that_waits() -> None:
    """And the socket is ready for what it may select next."""
    case = Case()
    subscription, transport = case.subscriber("A")
    transport.fill()
    case.broker.publish([event("A")])
    case.select(subscription)
    assert subscription.waiting == (0, 0)
    transport.drain()
    case.loop.run()
    case.select(subscription, "A")
    case.broker.publish([event("A")])
    assert ids(transport) == ["A-2"]
    assert (subscription.sent, subscription.dropped) == (1, 0)
