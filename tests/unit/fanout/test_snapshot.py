"""Last-known messages: what a new subscriber is shown, and how it fits with what comes live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.device_ids import pattern_matcher
from bridge.core.telemetry import Fix, Kind, Telemetry
from tests.fakes import event, position
from tests.unit.fanout import brokers


class Case(brokers.Case):
    """A broker and one subscriber."""

    def __init__(self, *selectors: str) -> None:
        super().__init__()
        self.subscription, self.transport = self.subscriber(*selectors, messages=5)

    def choose(self, *selectors: str) -> None:
        self.select(self.subscription, *selectors)

    def show(self, *selectors: str) -> None:
        self.snapshot(self.subscription, *selectors)

    def read(self) -> None:
        """The peer reads all that waits for it."""
        self.transport.drain()
        self.loop.run()

    def seen(self) -> list[tuple[str, bool]]:
        """Device and number of each message (``A-1``), and whether it is a replay."""
        messages = [one for one in self.transport.events() if one["event"] == "message"]
        return [(one["id"].replace("k", one["device_id"], 1), one.get("replay", False)) for one in messages]


def test_snapshot_shows_the_newest_of_each_kind() -> None:
    """The older first, marked as replay, with the id that it had; devices in the order asked for."""
    case = Case("A", "B")
    case.broker.publish([position("B", "1"), position("A", "2"), event("A", "3"), position("A", "4"), position("C")])
    case.transport.data = b""
    case.show("A", "B", "unknown")
    assert case.seen() == [("A-2", True), ("A-3", True), ("B-1", True)]


def test_snapshot_by_pattern_shows_each_device_once() -> None:
    """Also when an id, or two patterns, name the same device."""
    case = Case("a*", "*1", "a1")
    case.broker.publish([event("a1"), event("b1"), event("b2"), event("a2")])
    case.transport.data = b""
    case.show("a1", "a*", "*1")
    assert sorted(case.seen()) == [("a1-1", True), ("a2-1", True), ("b1-1", True)]


def test_snapshot_shows_the_newest_fix_and_not_the_last_that_came() -> None:
    """What a device had stored is delivered, each once, and is not where it is."""
    case = Case("A")
    now = case.clock.now
    case.broker.publish([Telemetry("A", b"{}", fix=Fix(1.5, 2.5, now - age)) for age in (10.0, 20.0)])
    assert case.seen() == [("A-1", False), ("A-2", False)]
    case.show("A")
    assert case.seen() == [("A-1", True)]


def test_live_message_makes_its_predecessor_in_the_snapshot_needless() -> None:
    """While a snapshot waits, newer values come live: shown once, and no older one after it."""
    case = Case("A", "B", "C")
    case.broker.publish([position("A", '"' + "x" * 50_000 + '"'), position("B"), position("C")])
    case.transport.data = b""
    case.show("A", "B", "C")
    assert case.seen() == [("A-1", True)]
    case.broker.publish([position("B")])
    assert case.seen() == [("B-2", False)]
    case.loop.run()
    assert case.seen() == [("C-1", True)]
    assert case.subscription.sent == 6


def test_live_message_that_waits_goes_before_the_snapshot() -> None:
    """A socket that takes nothing yet gets the newest value once, and first."""
    case = Case("A", "B")
    case.broker.publish([position("A"), position("B")])
    case.transport.data = b""
    case.transport.fill()
    case.show("A", "B")
    case.broker.publish([position("A")])
    assert case.seen() == []
    case.read()
    assert case.seen() == [("A-2", False), ("B-1", True)]


def test_device_that_is_no_longer_selected_is_not_shown() -> None:
    """A new token with fewer devices, or an unsubscribe, also holds for what still waits to be shown."""
    case = Case("A", "b*", "C")
    case.broker.publish([position("A"), position("b1"), position("C")])
    case.transport.data = b""
    case.transport.fill()
    case.show("A", "b*", "C")
    case.choose("C", "b2*")
    case.read()
    assert case.seen() == [("C-1", True)]


def test_forgotten_subscription_is_shown_nothing() -> None:
    """A stream that is being closed gets no more telemetry, whatever waited."""
    case = Case("A")
    case.broker.publish([position("A")])
    case.transport.data = b""
    case.transport.fill()
    case.show("A")
    case.broker.forget(case.subscription)
    case.read()
    assert case.seen() == []


def test_device_that_is_asked_for_again_while_it_waits_is_shown_once() -> None:
    """By its id or by a pattern: a client that asks again and does not read waits for one."""
    case = Case("A", "B")
    case.broker.publish([position("A"), position("B")])
    case.transport.data = b""
    case.transport.fill()
    for _ in range(1000):
        case.show("A")
        case.show("B", "A")
        case.show("*")
    case.read()
    assert case.seen() == [("A-1", True), ("B-1", True)]


# --- everything at once ------------------------------------------------------------------------------------------

SELECTORS = ["A", "B", "a1", "a*", "*1", "*"]
DEVICES = ["A", "B", "C", "a1", "b1"]

publishes = st.tuples(
    st.just("publish"), st.lists(st.tuples(st.sampled_from(DEVICES), st.sampled_from(Kind)), min_size=1, max_size=5)
)
selects = st.tuples(st.just("select"), st.lists(st.sampled_from(SELECTORS), max_size=3))
snapshots: st.SearchStrategy[tuple[str, list[object]]] = st.tuples(st.just("snapshot"), st.just([]))
reads: st.SearchStrategy[tuple[str, list[object]]] = st.tuples(st.sampled_from(["full", "read", "turn"]), st.just([]))


@given(st.lists(publishes | selects | snapshots | reads, max_size=30))
def test_whatever_happens_only_the_selected_is_delivered_once_and_in_order(
    steps: Sequence[tuple[str, Sequence[object]]],
) -> None:
    """Nothing is written that is not selected at that moment. Live messages: once, in order for each device. Replays:
    never older than what was seen of that kind. At the end every message that was wanted is accounted for."""
    case = Case()
    selected: frozenset[str] = frozenset()
    number, wanted = 0, set[int]()
    kinds: dict[int, tuple[str, Kind]] = {}
    order: dict[str, int] = {}
    sent = Counter[str]()
    live: dict[str, int] = {}
    newest: dict[tuple[str, Kind], int] = {}
    offered = replayed = unselected = 0

    def covered(device_id: str) -> bool:
        return any(pattern_matcher(selector)(device_id) for selector in selected)

    def look() -> None:
        nonlocal replayed
        for message_id, replay in case.seen():
            seen = order[message_id]
            device_id, kind = kinds[seen]
            assert covered(device_id)
            if replay:
                replayed += 1
                assert seen >= newest.get((device_id, kind), 0)
            else:
                assert seen in wanted
                wanted.discard(seen)
                assert seen > live.get(device_id, 0)
                live[device_id] = seen
            newest[device_id, kind] = max(seen, newest.get((device_id, kind), 0))

    for step, items in [*steps, ("read", [])]:
        if step == "publish":
            batch = []
            for item in items:
                assert isinstance(item, tuple)
                number += 1
                kinds[number] = item
                sent[item[0]] += 1
                order[f"{item[0]}-{sent[item[0]]}"] = number
                if covered(item[0]):
                    offered += 1
                    wanted.add(number)
                batch.append(position(item[0]) if item[1] is Kind.POSITION else event(item[0]))
            case.broker.publish(batch)
        elif step == "select":
            selected = frozenset(map(str, items))
            waiting = case.subscription.waiting[0]
            case.choose(*selected)
            unselected += waiting - case.subscription.waiting[0]
        elif step == "snapshot":
            case.show(*selected)
        elif step == "full":
            case.transport.fill()
        elif step == "turn":
            case.loop.turn()
        else:
            case.read()
        look()
    assert (case.subscription.outbox, case.subscription.replaying) == (None, False)
    came_live = case.subscription.sent - replayed
    lost = case.subscription.dropped + case.subscription.conflated
    assert offered == came_live + lost + unselected
    assert len(wanted) == lost + unselected
