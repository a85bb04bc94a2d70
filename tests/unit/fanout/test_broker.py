"""Fan-out: who gets what, in which order, and what is left behind when a socket goes."""

from __future__ import annotations

import itertools

import pytest

from bridge.core.telemetry import Fix, Telemetry
from bridge.fanout.outbox import Policy
from bridge.fanout.rendering import PayloadRenderer, Selection
from bridge.fanout.subscription import Subscription
from tests.fakes import event, position
from tests.unit.fanout.brokers import NOTHING, Case, ids

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
    """So that two subscribers can compare: a message nobody wanted still takes a number of its device."""
    case = Case()
    case.broker.publish([event("X"), event("A"), event("X")])
    _, transport = case.subscriber("A")
    case.broker.publish([event("X"), event("A")])
    assert ids(transport) == ["A-2"]


def test_ids_of_two_devices_are_different_messages() -> None:
    """Each device begins with the first: a client keeps device and id together."""
    case = Case()
    _, transport = case.subscriber("A", "B")
    case.broker.publish([event("A"), event("B")])
    assert [(one["device_id"], one["id"]) for one in transport.events()] == [("A", "k-1"), ("B", "k-1")]


def test_selection_is_replaced_between_turns() -> None:
    """From the next turn on the new one holds, and only the new one; an empty one ends it."""
    case = Case()
    subscription, transport = case.subscriber("A")
    case.broker.publish([event("A"), event("B")])
    case.select(subscription, "B")
    case.broker.publish([event("A"), event("B")])
    case.select(subscription)
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


def test_same_devices_shown_in_another_way_are_another_cohort() -> None:
    """A cohort is all of a selection, how it is shown included."""
    case = Case()
    _, plain = case.subscriber("A")
    other, marked = case.subscriber()
    case.broker.select(other, Selection(frozenset({"A"}), PayloadRenderer("m")))
    case.broker.publish([event("A")])
    assert [transport.events()[0]["id"] for transport in (plain, marked)] == ["k-1", "m-1"]
    assert case.broker.statistics().cohorts == 2


def test_late_member_is_not_counted_for_what_came_before() -> None:
    """``sent`` is of one socket, although a cohort is served together."""
    case = Case()
    early, _ = case.subscriber("A")
    case.broker.publish([event("A")] * 3)
    late, _ = case.subscriber("A")
    case.broker.publish([event("A")])
    assert (early.sent, late.sent) == (4, 1)


def test_another_selection_does_not_change_the_count() -> None:
    """What was sent before stays counted, and what others got does not count."""
    case = Case()
    subscription, _ = case.subscriber("A")
    case.subscriber("B")
    case.broker.publish([event("A"), event("B"), event("B")])
    case.select(subscription, "B")
    assert subscription.sent == 1
    case.broker.publish([event("B")])
    assert subscription.sent == 2


def test_selecting_the_same_again_changes_nothing() -> None:
    """Neither the count nor the membership; the shared selection is given back."""
    case = Case()
    subscription, _ = case.subscriber("A")
    other, _ = case.subscriber()
    case.broker.publish([event("A")])
    shared = case.broker.select(subscription, case.selection("A"))
    assert shared == case.selection("A")
    assert case.broker.select(other, case.selection("A")) is shared
    case.broker.publish([event("A")])
    assert subscription.sent == 2
    assert case.broker.statistics().subscriptions == 2


def test_deadlines_are_looked_at_before_anything_is_written() -> None:
    """Whatever makes the broker write begins with ``before_turn``: nothing goes out past a credential's end."""
    case = Case()
    subscription, transport = case.subscriber("A")
    case.before_turn = lambda: case.broker.forget(subscription)
    case.broker.publish([event("A")])
    assert transport.writes == 0
    for verb in ("lost", "snapshot", "pump", "turn"):
        case.before_turn = lambda: None
        subscription, transport = case.subscriber("A")
        if verb == "turn":
            transport.fill()
            case.broker.publish([event("A", '"' + "x" * 30_000 + '"')] * 4)
            transport.drain()
            transport.data = b""
        written = transport.writes
        case.before_turn = lambda: case.broker.forget(subscription)  # noqa: B023 - called within this round
        if verb == "lost":
            case.broker.lost({"A": 1}, 0)
        elif verb == "snapshot":
            case.snapshot(subscription, "A")
        elif verb == "pump":
            case.broker.pump(subscription)
        else:
            case.loop.run()
        assert transport.writes == written, verb


# --- slow and closing sockets -----------------------------------------------------------------------------------


def test_slow_socket_costs_the_others_nothing() -> None:
    """Same cohort, same turn: one is full, the other gets its frames at once; the slow one catches up in order."""
    case = Case()
    (slow, slow_transport), (_, fast_transport) = case.subscriber("A"), case.subscriber("A")
    slow_transport.fill()
    case.broker.publish([event("A", "1"), event("A", "2")])
    case.broker.publish([event("A", "3")])
    assert ids(fast_transport) == ["A-1", "A-2", "A-3"]
    assert slow_transport.writes == 0
    assert case.broker.statistics().behind == 1
    assert case.loop.run() == 0  # it costs nothing until it reads
    slow_transport.drain()
    case.broker.publish([event("A", "4")])  # what waits is written first, and nothing overtakes it
    assert ids(slow_transport) == ["A-1", "A-2", "A-3", "A-4"]
    assert slow_transport.writes == 2
    assert (slow.sent, slow.dropped, slow.conflated) == (4, 0, 0)
    case.broker.publish([event("A", "5")])
    assert ids(slow_transport) == ["A-5"]
    assert case.broker.statistics().behind == 0
    assert case.loop.run() == 0


def test_what_waits_goes_out_a_chunk_a_turn_and_nothing_overtakes_it() -> None:
    """A socket that reads again takes several turns: what comes meanwhile queues behind."""
    case = Case()
    subscription, transport = case.subscriber("A", policy=Policy.DROP_OLDEST)
    transport.fill()
    case.broker.publish([event("A", '"' + "x" * 30_000 + '"')] * 5)
    transport.drain()
    assert ids(transport) == ["A-1"]
    case.broker.publish([event("A")])
    assert ids(transport) == []
    turns = case.loop.run()
    assert ids(transport) == ["A-2", "A-3", "A-4", "A-5", "A-6"]
    assert turns == 4
    assert (subscription.sent, subscription.ready) == (6, True)


def test_transport_says_itself_when_it_has_enough() -> None:
    """A turn that goes past the mark is written; the next one waits in the outbox."""
    case = Case()
    subscription, transport = case.subscriber("A")
    transport.stuck = True
    case.broker.publish([event("A", '"' + "x" * 20_000 + '"')])
    case.broker.publish([event("A")])
    assert transport.writes == 1
    assert subscription.waiting[0] == 1


def test_failing_transport_is_left_alone() -> None:
    """Between the end of a connection and the broker's knowing of it nothing is written, and losses are counted."""
    case = Case()
    subscription, transport = case.subscriber("A")
    transport.broken = True
    case.broker.publish([event("A"), event("A")])
    transport.broken = False
    case.broker.publish([event("A")])
    case.loop.run()
    assert transport.writes == 0
    case.broker.forget(subscription)
    assert (subscription.sent, subscription.dropped) == (0, 3)
    assert case.broker.statistics().behind == 0


def test_a_thousand_sockets_that_are_behind_cost_one_call_of_the_loop() -> None:
    """And none while they do not read."""
    case = Case()
    transports = [case.subscriber("A")[1] for _ in range(1000)]
    for transport in transports:
        transport.fill()
    case.broker.publish([event("A", '"' + "x" * 30_000 + '"')] * 3)
    assert case.loop.soon == []
    for transport in transports:
        transport.drain()
    assert len(case.loop.soon) == 1
    case.loop.run()
    assert all(ids(transport) == ["A-1", "A-2", "A-3"] for transport in transports)
    assert case.broker.statistics().behind == 0


def test_loss_at_the_door_is_told_to_those_who_wanted_the_device() -> None:
    """By id or by pattern, each once; nobody else hears of it, and a device nobody wants is only counted."""
    case = Case()
    wanting = [(3, *case.subscriber("A")), (3, *case.subscriber("A*", "A")), (5, *case.subscriber("*"))]
    _, other = case.subscriber("B")
    case.broker.lost({"A": 3, "Z": 2}, 0)
    for lost, subscription, transport in wanting:
        (gap,) = transport.events()
        assert gap["data"]["devices"]["A"] == 3
        assert gap["data"]["dropped"] == subscription.dropped == lost
    assert other.writes == 0
    assert case.broker.statistics().lost == 5


@pytest.mark.parametrize(
    "time, left", [(-10.0, "live"), (0.0, "next"), (None, "next"), (1000.0, "live")],
    ids=["older", "newer", "undated", "far ahead"],
)  # fmt: skip
def test_fix_that_is_older_never_takes_the_place_of_one_that_waits(time: float | None, left: str) -> None:
    """As for last-known values: what a device had stored, or took by a clock far ahead, is not where it is."""
    case = Case()
    _, transport = case.subscriber("A")
    transport.fill()
    now = case.clock.now
    for text, at in (("live", now - 5.0), ("next", None if time is None else now + time)):
        case.broker.publish([Telemetry("A", f'"{text}"'.encode(), fix=Fix(1.5, 2.5, at))])
    transport.drain()
    gap, message = transport.events()
    assert (gap["data"]["conflated"], gap["data"]["dropped"], message["data"]) == (1, 0, left)


# --- nothing left behind ------------------------------------------------------------------------------------------


def test_forgetting_leaves_nothing_behind() -> None:
    """Also when the socket was behind, replayed, or had changed its mind; forgetting twice is no error."""
    case = Case()
    case.broker.publish([event("A"), event("b1")])
    subscribers = [case.subscriber("A"), case.subscriber("A", "b*"), case.subscriber("*"), case.subscriber("A")]
    for subscription, transport in subscribers:
        transport.fill()
        case.snapshot(subscription, "A", "b*")
    case.broker.publish([event("A"), event("b1")])
    case.select(subscribers[0][0], "c*", "d")
    assert case.things[:3] == (4, 4, 5)
    assert case.held == 4
    for subscription, transport in subscribers:  # noqa: B007 - both are deleted below
        case.broker.forget(subscription)
        case.broker.forget(subscription)
        assert (subscription.pending, subscription.outbox) == (False, None)
    assert case.things == NOTHING
    del subscribers, subscription, transport
    assert (case.held, case.loop.run()) == (0, 0)


def test_what_waited_for_a_forgotten_socket_is_counted_as_dropped() -> None:
    """The line at the stream's end says what the client did not get."""
    case = Case()
    subscription, transport = case.subscriber("A")
    transport.fill()
    case.broker.publish([event("A"), position("A"), position("A")])
    case.broker.forget(subscription)
    assert (subscription.sent, subscription.dropped, subscription.conflated, subscription.peak) == (0, 2, 1, 2)
    stats = case.broker.statistics()
    assert (stats.delivered, stats.dropped, stats.conflated, stats.behind) == (0, 2, 1, 0)


def test_subscribing_and_unsubscribing_for_ever_leaves_nothing() -> None:
    """Ten thousand changes of mind: no empty set stays in an index."""
    case = Case()
    subscription, _ = case.subscriber()
    for number in range(10_000):
        case.select(subscription, f"d{number}", f"p{number}*")
    assert case.things[:3] == (1, 1, 2)
    case.select(subscription)
    assert case.things == NOTHING


def test_statistics_count_what_happened() -> None:
    """Deliveries are messages times sockets, as written."""
    case = Case()
    for _ in range(3):
        case.subscriber("A")
    case.subscriber("A", "B")
    case.broker.publish([event("A"), event("B"), event("C")])
    stats = case.broker.statistics()
    assert (stats.published, stats.delivered, stats.subscriptions, stats.cohorts, stats.devices) == (3, 5, 4, 2, 2)


def test_statistics_add_up_over_all_sockets() -> None:
    """Delivered, dropped and conflated are those of the sockets together, gone or not."""
    case = Case()
    members: list[Subscription] = []
    for policy in Policy:
        subscription, transport = case.subscriber("*", policy=policy, messages=2)
        members.append(subscription)
        if policy is not Policy.DROP_NEWEST:
            transport.fill()
    case.broker.publish([position("A"), position("A"), event("B"), event("C"), event("D")])
    case.broker.forget(members[0])
    stats = case.broker.statistics()
    for name, count in (("sent", stats.delivered), ("dropped", stats.dropped), ("conflated", stats.conflated)):
        assert sum(getattr(one, name) for one in members) == count
    waiting = sum(one.waiting[0] for one in members)
    assert stats.delivered + stats.dropped + stats.conflated + waiting == 5 * len(members)
    assert stats.behind == 2
