"""The broker's memory of who wants what: right after every change, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.fanout import routing
from bridge.fanout.broker import Broker
from bridge.fanout.history import LastKnown
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.subscription import Subscription
from tests.fakes import Clock, Owner, Timers, Transport, event

DEVICES = ["A", "B", "a1", "a2"]


def make() -> Broker:
    """A broker."""
    return Broker(LastKnown(), "k", clock=Clock(), monotonic=lambda: 0.0, call_later=Timers())


def subscription() -> Subscription:
    """A subscription that takes everything."""
    return Subscription(Transport(), OutboxLimits(9, 10**6, Policy.LATEST), Owner())


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.sampled_from(["A", "B", "a1", "a*", "*1", "*"]), max_size=3)),
        max_size=25,
    )
)
def test_routes_lead_to_living_cohorts_and_to_all_of_them(changes: list[tuple[int, list[str]]]) -> None:
    """After every change of any selection, with all routes remembered from before: no dead cohort, no missing one."""
    broker = make()
    subscriptions = [subscription() for _ in range(4)]
    wanted: dict[int, frozenset[str]] = {}
    for number, selectors in changes:
        wanted[number] = frozenset(selectors)
        assert broker.select(subscriptions[number], wanted[number]) == wanted[number]
        living = set(broker._cohorts.values())
        broker.publish([event(device_id) for device_id in DEVICES])
        for device_id in DEVICES:
            reached = [member for cohort in broker._routing.routes[device_id][1] for member in cohort.members]
            right = [
                one
                for n, one in enumerate(subscriptions)
                if any(s in (device_id, "*") or (s, device_id) in COVERED for s in wanted.get(n, ()))
            ]
            assert sorted(map(id, reached)) == sorted(map(id, right))
        assert all(not cohort.entries for cohort in living)


COVERED = {("a*", "a1"), ("a*", "a2"), ("*1", "a1")}


def test_memory_of_routes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that nobody wants are remembered too, so a stranger's invented ids must not pile up."""
    monkeypatch.setattr(routing, "MAX_KNOWN_DEVICES", 10)
    broker = make()
    for number in range(1000):
        broker.publish([event(f"d{number}")])
        assert 0 < len(broker._routing.routes) <= 10


def test_devices_in_the_statistics_are_ids_and_patterns() -> None:
    """What is watched, each once, whoever watches it; by pattern, what was heard."""
    broker = make()
    for selectors in (["A", "b*"], ["A", "B"], ["b*", "c*"]):
        broker.select(subscription(), frozenset(selectors))
    broker.publish([event("b1"), event("b1"), event("A"), event("z")])
    assert (broker.statistics().devices, broker.statistics().selectors) == (3, 4)
