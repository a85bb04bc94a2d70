"""Fan-out under faults: no loss on healthy sockets, bounded work, no failure that spreads."""

from __future__ import annotations

import pytest

from bridge.core.limits import LOW_WATER_BYTES, REPLAY_LOOKS
from bridge.fanout.outbox import Policy
from tests.fakes import event
from tests.unit.fanout.test_broker import Case, ids


@pytest.mark.parametrize("policy", list(Policy))
def test_loss_at_the_handoff_costs_a_healthy_socket_nothing_more(policy: Policy) -> None:
    """Turns that follow each other at once do not fill the outbox of a socket that takes everything."""
    case = Case()
    subscription, transport = case.subscriber("*", policy=policy)
    case.broker.lost({"A": 1000}, 5)
    for _ in range(10):
        case.broker.publish([event(f"d{number}") for number in range(128)])
    assert (subscription.sent, subscription.dropped, subscription.conflated) == (1280, 1000, 0)
    gap = transport.events()[0]
    assert (gap["event"], gap["data"]["dropped"], gap["data"]["incomplete"]) == ("gap", 1000, True)


def test_socket_that_fails_costs_the_others_nothing() -> None:
    """uvloop may raise where asyncio is silent: that one is cut, the others get their frames, now and later."""
    case = Case()
    (_, broken), (_, same), (_, other) = case.subscriber("A"), case.subscriber("A"), case.subscriber("A", "B")

    def fail(_data: bytes) -> None:
        raise RuntimeError("the handle is closed")

    broken.write = fail  # type: ignore[assignment, method-assign]
    case.broker.publish([event("A")])
    case.broker.publish([event("A")])
    assert ids(same) == ids(other) == ["A-1", "A-2"]


def test_snapshot_of_everything_is_bounded_work_per_look() -> None:
    """However many devices are known, one look goes through REPLAY_LOOKS of them, found or not."""
    case = Case()
    count = REPLAY_LOOKS * 3 + 1
    case.broker.publish([event(f"x{number}") for number in range(count)] + [event("truck-1")])
    subscription, transport = case.subscriber("x*", "truck-*")
    case.broker.snapshot(subscription, [], ["truck-*"])
    assert transport.writes == 0
    assert case.broker.statistics().behind == 1
    case.timers.advance(1)
    assert ids(transport) == ["truck-1-1"]
    assert case.broker.statistics().behind == 0
    assert case.broker._sweeps == {}


def test_second_snapshot_during_a_sweep_shows_both() -> None:
    """The place in the list of devices begins anew, and serves what was asked before too."""
    case = Case()
    case.broker.publish([event(f"a{number}") for number in range(REPLAY_LOOKS + 1)] + [event("b"), event("c")])
    subscription, transport = case.subscriber("*")
    transport.buffered = LOW_WATER_BYTES + 1
    case.broker.snapshot(subscription, [], ["b*"])
    case.broker.snapshot(subscription, [], ["c*"])
    transport.buffered = 0
    case.timers.advance(1)
    assert [one["device_id"] for one in transport.events()] == ["b", "c"]


def test_one_more_pattern_does_not_make_every_message_search_them_all() -> None:
    """Patterns with a star at the end are found by their prefix: the cost does not grow with their number."""
    case = Case()
    for number in range(2000):
        case.subscriber(f"tenant{number}-*")
    _, transport = case.subscriber("tenant7-*", "tenant70*")
    lookups: list[int] = []

    class Counting(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            lookups.append(1)
            return super().get(key, default)

    case.broker._routing.patterns._prefixes = Counting(case.broker._routing.patterns._prefixes)  # type: ignore[assignment]
    case.broker.publish([event("tenant7-1"), event("tenant70-1"), event("tenant8-1")])
    assert len(lookups) <= 3 * 8
    assert [one["device_id"] for one in transport.events()] == ["tenant7-1", "tenant70-1"]
