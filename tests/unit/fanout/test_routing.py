"""The memory of who wants what: right after every change, and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.fanout.cohort import Cohort
from bridge.fanout.rendering import Selection
from bridge.fanout.routing import Routing
from tests.fakes import Frames, event
from tests.unit.fanout.brokers import Case

DEVICES = ["A", "B", "a1", "a2"]
COVERED = {("a*", "a1"), ("a*", "a2"), ("*1", "a1")}


def covers(selectors: frozenset[str], device_id: str) -> bool:
    """Whether one of them does, by a table."""
    return any(one in (device_id, "*") or (one, device_id) in COVERED for one in selectors)


changes = st.tuples(st.integers(0, 3), st.lists(st.sampled_from(["A", "B", "a1", "a*", "*1", "*"]), max_size=3))


@given(st.lists(changes, max_size=25))
def test_routes_lead_to_living_cohorts_and_to_all_of_them(script: list[tuple[int, list[str]]]) -> None:
    """After every change, with all routes remembered from before: no dead cohort, no missing one, none twice."""
    routing, living = Routing(), dict[int, Cohort]()
    for number, selectors in script:
        if number in living:
            routing.discard(living.pop(number))
        if selectors:
            living[number] = Cohort(Selection(frozenset(selectors), Frames()))
            routing.add(living[number])
        for device_id in DEVICES:
            right = [cohort for cohort in living.values() if covers(cohort.selection.device_ids, device_id)]
            assert sorted(map(id, routing.of(device_id))) == sorted(map(id, right))
        assert len(routing) == len(frozenset().union(*(one.selection.device_ids for one in living.values())))


@given(st.lists(changes, max_size=25))
def test_publishing_reaches_those_who_have_selected_and_nobody_else(script: list[tuple[int, list[str]]]) -> None:
    """The broker's own shortcut through the routes is as right as they are."""
    case = Case()
    subscribers = [case.subscriber() for _ in range(4)]
    wanted = dict.fromkeys(range(4), frozenset[str]())
    for number, selectors in script:
        wanted[number] = frozenset(selectors)
        case.select(subscribers[number][0], *selectors)
        case.broker.publish([event(device_id) for device_id in DEVICES])
        for one, (_, transport) in enumerate(subscribers):
            expected = [device_id for device_id in DEVICES if covers(wanted[one], device_id)]
            assert [each["device_id"] for each in transport.events()] == expected


def test_memory_of_routes_is_bounded() -> None:
    """Devices that nobody wants are remembered too, so a stranger's invented ids must not pile up."""
    routing = Routing(max_routes=10)
    for number in range(1000):
        assert routing.of(f"d{number}") == ()
        assert 0 < len(routing.routes) <= 10


def test_devices_in_the_statistics_are_ids_and_patterns() -> None:
    """What is watched, each once, whoever watches it; by pattern, what was heard."""
    case = Case()
    for selectors in (["A", "b*"], ["A", "B"], ["b*", "c*"]):
        case.subscriber(*selectors)
    case.broker.publish([event("b1"), event("b1"), event("A"), event("z")])
    assert (case.broker.statistics().devices, case.broker.statistics().selectors) == (3, 4)


def test_devices_are_counted_once_a_second_at_most() -> None:
    """Everyone may ask, and there may be a hundred thousand."""
    case = Case()
    case.subscriber("A")
    assert case.broker.statistics().devices == 1
    case.subscriber("B")
    assert case.broker.statistics().devices == 1
    case.monotonic.now += 1.0
    assert case.broker.statistics().devices == 2
