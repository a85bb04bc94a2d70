"""Fan-out under faults: no loss on healthy sockets, bounded work, no failure that spreads."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bridge.core.limits import REPLAY_LOOKS
from bridge.core.telemetry import Telemetry
from bridge.fanout.outbox import Policy
from bridge.fanout.rendering import Entry, Message, PayloadRenderer, Selection
from tests.fakes import event
from tests.unit.fanout.brokers import Case, ids


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


def test_loss_that_cannot_be_counted_by_device_is_told_to_all() -> None:
    """Any of them may have missed something."""
    case = Case()
    (_, one), (_, other) = case.subscriber("A"), case.subscriber("B")
    case.broker.lost({"A": 1}, 1)
    assert [transport.events()[0]["data"]["count"] for transport in (one, other)] == [1, 0]


def test_socket_that_fails_costs_the_others_nothing() -> None:
    """uvloop may raise where asyncio is silent: that one is cut, the others get their frames, now and later."""
    case = Case()
    (_, broken), (_, same), (_, other) = case.subscriber("A"), case.subscriber("A"), case.subscriber("A", "B")
    broken.broken = True
    case.broker.publish([event("A")])
    case.broker.publish([event("A")])
    assert ids(same) == ids(other) == ["A-1", "A-2"]


def test_renderer_that_fails_costs_its_cohort_one_turn_and_the_others_nothing() -> None:
    """Its error is raised when they have their frames; the next turn works."""

    class Failing(PayloadRenderer):
        def render(self, turn: Sequence[Message], now: float, monotonic: float) -> Sequence[Entry]:
            if len(turn) == 1:
                raise ZeroDivisionError
            return super().render(turn, now, monotonic)

    case = Case()
    (subscription, broken), (_, sound) = case.subscriber(), case.subscriber("A")
    case.broker.select(subscription, Selection(frozenset({"A"}), Failing("k")))
    with pytest.raises(ZeroDivisionError):
        case.broker.publish([event("A")])
    assert (ids(broken), ids(sound)) == ([], ["A-1"])
    case.broker.publish([event("A"), event("A")])
    assert ids(broken) == ids(sound) == ["A-2", "A-3"]


def test_replay_that_fails_costs_the_others_nothing() -> None:
    """The error of one socket is raised when the others that wait have their chunk, and they go on waiting for more."""
    case = Case()
    case.broker.publish([event(name, '"' + "x" * 50_000 + '"') for name in "ABC"])
    (failing, _), (sound, transport) = case.subscriber("*"), case.subscriber("*")

    def fail(telemetry: Telemetry, number: int) -> bytes:
        if telemetry.device_id == "B":
            raise ZeroDivisionError
        return case.renderer.replay(telemetry, number)

    case.broker.snapshot(failing, [], ["*"], fail)
    case.snapshot(sound, "*")
    with pytest.raises(ZeroDivisionError):
        case.loop.turn()
    case.loop.run()
    assert ids(transport) == ["A-1", "B-1", "C-1"]
    assert failing.pending is False  # its owner was told that it has failed


def test_snapshot_of_everything_is_bounded_work_per_look() -> None:
    """However many devices are known, one look goes through REPLAY_LOOKS of them, found or not."""
    case = Case()
    count = REPLAY_LOOKS * 3 + 1
    case.broker.publish([event(f"x{number}") for number in range(count)] + [event("truck-1")])
    subscription, transport = case.subscriber("x*", "truck-*")
    case.snapshot(subscription, "truck-*")
    assert transport.writes == 0
    assert (case.broker.statistics().behind, len(case.loop.soon)) == (1, 1)
    assert case.loop.run() == 3
    assert ids(transport) == ["truck-1-1"]
    assert case.broker.statistics().behind == 0


def test_second_snapshot_during_a_sweep_shows_both() -> None:
    """The place in the list of devices begins anew, and serves what was asked before too."""
    case = Case()
    case.broker.publish([event(f"a{number}") for number in range(REPLAY_LOOKS + 1)] + [event("b"), event("c")])
    subscription, transport = case.subscriber("*")
    transport.fill()
    case.snapshot(subscription, "b*")
    case.snapshot(subscription, "c*")
    transport.drain()
    case.loop.run()
    assert [one["device_id"] for one in transport.events()] == ["b", "c"]


def test_one_more_pattern_does_not_make_every_message_search_them_all() -> None:
    """Patterns with a star at the end are found by their prefix: the cost does not grow with their number."""
    case = Case()
    for number in range(2000):
        case.subscriber(f"tenant{number}-*")
    _, transport = case.subscriber("tenant7-*", "tenant70*")
    lookups = 0

    class Counting(str):
        __slots__ = ()

        def __getitem__(self, key: object) -> str:
            nonlocal lookups
            lookups += 1
            return super().__getitem__(key)  # type: ignore[index]

        def startswith(self, *_: object) -> bool:
            raise AssertionError("compared with a pattern")

    case.broker.publish([event(Counting(name)) for name in ("tenant7-1", "tenant70-1", "tenant8-1")])
    assert 3 <= lookups <= 3 * 8
    assert [one["device_id"] for one in transport.events()] == ["tenant7-1", "tenant70-1"]
