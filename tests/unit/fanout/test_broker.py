"""Fan-out: who gets what, in which order, and what is left behind when a socket goes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bridge.core.limits import CHUNK_BYTES
from bridge.core.telemetry import Telemetry
from bridge.fanout.broker import PUMP_SECONDS, PUMP_SHARE_SECONDS, Broker
from bridge.fanout.history import LastKnown
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.subscription import Subscription
from tests.fakes import Clock, Owner, Timers, Transport, event, position


class Case:
    """A broker and its subscribers."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.turns = 0
        self.broker = Broker(
            LastKnown(), "k", clock=Clock(), monotonic=lambda: self.timers.now, call_later=self.timers,
            before_turn=self._turn,
        )  # fmt: skip

    def _turn(self) -> None:
        self.turns += 1

    def subscriber(
        self, *selectors: str, policy: Policy = Policy.LATEST, messages: int = 100
    ) -> tuple[Subscription, Transport]:
        transport = Transport()
        subscription = Subscription(transport, OutboxLimits(messages, 10**6, policy), Owner())
        self.broker.select(subscription, frozenset(selectors))
        return subscription, transport


def ids(transport: Transport) -> list[str]:
    """Device and number of each message (``A-1``), and the names of other events, since the last call."""
    return [
        one["id"].replace("k", one["device_id"], 1) if one["event"] == "message" else one["event"]
        for one in transport.events()
    ]


# --- who gets what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selectors, expected",
    [
        (["A"], ["A-1", "A-2"]),
        (["B", "A"], ["A-1", "B-1", "A-2"]),
        (["truck-*"], ["truck-1-1"]),
        (["*"], ["A-1", "B-1", "truck-1-1", "A-2"]),
        (["A", "*"], ["A-1", "B-1", "truck-1-1", "A-2"]),
        (["truck-*", "truck-1", "t*"], ["truck-1-1"]),
        (["C"], []),
        (["a"], []),
    ],
)
def test_each_wanted_message_is_delivered_once(selectors: list[str], expected: list[str]) -> None:
    """By id, by pattern, by both at once: one message, one frame, in the order in which they came."""
    case = Case()
    _, transport = case.subscriber(*selectors)
    case.broker.publish([position("A"), event("B"), position("truck-1"), event("A")])
    assert ids(transport) == expected
    assert transport.writes == (1 if expected else 0)


def test_message_carries_payload_id_and_replay_mark() -> None:
    """A retained MQTT message is a last-known value and not news."""
    case = Case()
    _, transport = case.subscriber("A")
    case.broker.publish([position("A", '{"x": 1}'), Telemetry("A", b"[]", True)])
    assert transport.events() == [
        {"event": "message", "id": "k-1", "device_id": "A", "data": {"x": 1}},
        {"event": "message", "id": "k-2", "device_id": "A", "replay": True, "data": []},
    ]


def test_ids_count_the_messages_of_a_device_and_tell_nothing_of_others() -> None:
    """So that two subscribers can compare: a message nobody wanted still takes its number, but of its own device."""
    case = Case()
    case.broker.publish([event("X"), event("A"), event("X")])
    _, transport = case.subscriber("A")
    case.broker.publish([event("X"), event("A")])
    assert ids(transport) == ["A-2"]


def test_selection_is_replaced_between_turns() -> None:
    """From the next turn on the new one holds, and only the new one; an empty one ends it."""
    case = Case()
    subscription, transport = case.subscriber("A")
    case.broker.publish([event("A"), event("B")])
    case.broker.select(subscription, frozenset({"B"}))
    case.broker.publish([event("A"), event("B")])
    case.broker.select(subscription, frozenset())
    case.broker.publish([event("A"), event("B")])
    assert ids(transport) == ["A-1", "B-2"]
    assert subscription.sent == 2


def test_same_selection_is_one_cohort() -> None:
    """Whatever the order in which it was asked for; who leaves does not disturb the others."""
    case = Case()
    subscribers = [case.subscriber(*order) for order in itertools.permutations("AB")]
    assert case.broker.statistics().cohorts == 1
    case.broker.publish([event("A")])
    case.broker.forget(subscribers[0][0])
    case.broker.publish([event("B")])
    assert [ids(transport) for _, transport in subscribers] == [["A-1"], ["A-1", "B-1"]]
    assert [subscription.sent for subscription, _ in subscribers] == [1, 2]


def test_late_member_is_not_counted_for_what_came_before() -> None:
    """``sent`` is of one socket, although a cohort counts for all its members."""
    case = Case()
    early, _ = case.subscriber("A")
    case.broker.publish([event("A")] * 3)
    late, _ = case.subscriber("A")
    case.broker.publish([event("A")])
    assert (early.sent, late.sent) == (4, 1)


def test_selecting_the_same_again_changes_nothing() -> None:
    """Neither the count nor the membership; the shared set is given back."""
    case = Case()
    subscription, _ = case.subscriber("A")
    case.broker.publish([event("A")])
    assert case.broker.select(subscription, frozenset({"A"})) == {"A"}
    case.broker.publish([event("A")])
    assert subscription.sent == 2
    assert case.broker.statistics().subscriptions == 1


def test_deadlines_are_looked_at_before_anything_is_written() -> None:
    """Every publish and every pump begins with ``before_turn``: nothing goes out past a credential's end."""
    case = Case()
    subscription, transport = case.subscriber("A")
    case.broker._before_turn = lambda: case.broker.forget(subscription)
    case.broker.publish([event("A")])
    assert transport.writes == 0
    subscription, transport = case.subscriber("A")
    subscription.lost({"A": 1}, False, 0.0)
    case.broker.pump_later(subscription)
    case.timers.advance(1)
    assert transport.writes == 0


# --- slow and closing sockets -----------------------------------------------------------------------------------


def test_slow_socket_costs_the_others_nothing() -> None:
    """Same cohort, same turn: one is full, the other gets its frames at once; the slow one catches up in order."""
    case = Case()
    (slow, slow_transport), (_, fast_transport) = case.subscriber("A"), case.subscriber("A")
    slow_transport.buffered = CHUNK_BYTES
    case.broker.publish([event("A", "1"), event("A", "2")])
    case.broker.publish([event("A", "3")])
    assert ids(fast_transport) == ["A-1", "A-2", "A-3"]
    assert slow_transport.writes == 0
    assert case.broker.statistics().behind == 1
    slow_transport.buffered = 0
    case.timers.now += 1
    case.broker.publish([event("A", "4")])  # what waits is written first, and nothing overtakes it
    assert ids(slow_transport) == ["A-1", "A-2", "A-3", "A-4"]
    assert slow_transport.writes == 2
    case.timers.advance(1)
    assert (slow.sent, slow.dropped, slow.conflated) == (4, 0, 0)
    case.broker.publish([event("A", "5")])
    assert ids(slow_transport) == ["A-5"]
    assert case.broker.statistics().behind == 0
    assert case.timers.due == []


@pytest.mark.parametrize("room, direct", [(0, True), (-1, False)])
def test_transport_is_filled_up_to_one_chunk(room: int, direct: bool) -> None:
    """A turn that just fits goes out at once; one byte more waits in the outbox."""
    case = Case()
    _, probe = case.subscriber("A")
    case.broker.publish([event("A")])
    _, transport = case.subscriber("A")
    transport.buffered = CHUNK_BYTES - len(probe.data) - room
    case.broker.publish([event("A")])
    assert bool(transport.writes) is direct


def test_closing_transport_is_left_alone() -> None:
    """Between the end of a connection and the broker's knowing of it nothing is written, and losses are counted."""
    case = Case()
    subscription, transport = case.subscriber("A")
    transport.closing = True
    case.broker.publish([event("A"), event("A")])
    case.timers.advance(1)
    assert (subscription.sent, subscription.dropped) == (0, 2)
    assert case.broker.statistics().behind == 0


def test_one_timer_looks_after_all_sockets_that_are_behind() -> None:
    """The more there are, the rarer the look; it stops when nobody is behind."""
    case = Case()
    transports = [case.subscriber("A")[1] for _ in range(1000)]
    for transport in transports:
        transport.buffered = CHUNK_BYTES
    case.broker.publish([event("A")])
    assert len(case.timers.due) == 1
    case.timers.advance(case.timers.due[0])
    assert case.timers.due == [pytest.approx(PUMP_SECONDS + 1000 * PUMP_SHARE_SECONDS)]
    for transport in transports:
        transport.buffered = 0
    case.timers.advance(1)
    assert case.timers.due == []
    assert all(ids(transport) == ["A-1"] for transport in transports)


def test_loss_at_the_door_is_told_to_those_who_wanted_the_device() -> None:
    """By id or by pattern, each once; nobody else hears of it, and a device nobody wants is only counted."""
    case = Case()
    wanting = [case.subscriber("A"), case.subscriber("A*", "A"), case.subscriber("*")]
    _, other = case.subscriber("B")
    case.broker.lost({"A": 3, "Z": 2}, 0)
    for subscription, transport in wanting:
        (gap,) = transport.events()
        assert gap["data"]["devices"]["A"] == 3
        assert gap["data"]["dropped"] == subscription.dropped == (5 if "*" in selectors_of(case, subscription) else 3)
    assert other.writes == 0
    assert case.broker.statistics().lost == 5


def selectors_of(case: Case, subscription: Subscription) -> frozenset[str]:
    """What a subscription has selected now."""
    return case.broker._membership[subscription].selectors


# --- nothing left behind ------------------------------------------------------------------------------------------


def maps(broker: Broker) -> dict[str, Any]:
    """The indexes that hold anything at all."""
    names = ("_cohorts", "_lasting", "_routing", "_membership", "_behind")
    return {name: getattr(broker, name) for name in names if getattr(broker, name)}


def test_forgetting_leaves_no_map_with_anything_in_it() -> None:
    """Also when the socket was behind, replayed, or had changed its mind; forgetting twice is no error."""
    case = Case()
    case.broker.publish([event("A"), event("b1")])
    subscribers = [case.subscriber("A"), case.subscriber("A", "b*"), case.subscriber("*"), case.subscriber("A")]
    for subscription, transport in subscribers:
        transport.buffered = CHUNK_BYTES
        case.broker.snapshot(subscription, ["A"], ["b*"])
    case.broker.publish([event("A"), event("b1")])
    case.broker.select(subscribers[0][0], frozenset({"c*", "d"}))
    assert maps(case.broker)
    for subscription, _ in subscribers:
        case.broker.forget(subscription)
        case.broker.forget(subscription)
        assert not subscription.behind
        assert subscription.outbox is None
    assert maps(case.broker) == {}
    case.timers.advance(1)
    assert case.timers.due == []
    stats = case.broker.statistics()
    assert (stats.subscriptions, stats.cohorts, stats.devices, stats.behind) == (0, 0, 0, 0)


def test_what_waited_for_a_forgotten_socket_is_counted_as_dropped() -> None:
    """The line at the stream's end says what the client did not get."""
    case = Case()
    subscription, transport = case.subscriber("A")
    transport.buffered = CHUNK_BYTES
    case.broker.publish([event("A"), position("A"), position("A")])
    case.broker.forget(subscription)
    assert (subscription.sent, subscription.dropped, subscription.conflated, subscription.peak) == (0, 2, 1, 2)


def test_subscribing_and_unsubscribing_for_ever_leaves_nothing() -> None:
    """Ten thousand changes of mind: no empty set stays in an index."""
    case = Case()
    subscription, _ = case.subscriber()
    for number in range(10_000):
        case.broker.select(subscription, frozenset({f"d{number}", f"p{number}*"}))
    assert len(case.broker._routing.exact) == len(case.broker._routing.patterns) == len(case.broker._cohorts) == 1
    case.broker.select(subscription, frozenset())
    assert maps(case.broker) == {}


def test_statistics_count_what_happened() -> None:
    """Deliveries are messages times sockets, as written."""
    case = Case()
    for _ in range(3):
        case.subscriber("A")
    case.subscriber("A", "B")
    case.broker.publish([event("A"), event("B"), event("C")])
    stats = case.broker.statistics()
    assert (stats.published, stats.delivered, stats.subscriptions, stats.cohorts, stats.devices) == (3, 5, 4, 2, 2)
