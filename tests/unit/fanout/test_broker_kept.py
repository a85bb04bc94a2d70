"""Selections that are kept, with renderers of another make: selected, rendered, and released without a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.telemetry import Telemetry
from bridge.fanout.rendering import Entry, Message, PayloadRenderer, Selection
from bridge.fanout.subscription import Subscription
from tests.fakes import Frames, Transport, event
from tests.unit.fanout.brokers import NOTHING, Case, ids

FRAME = b"\x81\x02{}"


class Noting(PayloadRenderer):
    """Shows every message as it is, under names that it gives, and notes what it was brought."""

    def __init__(self, names: dict[str, str | None] | None = None) -> None:
        super().__init__("k")
        self.names = names or {}
        self.came: list[Telemetry] = []
        self.clocks: list[tuple[float, float]] = []

    def render(self, turn: Sequence[Message], now: float, monotonic: float) -> Sequence[Entry]:
        self.came.extend(message.telemetry for message in turn)
        self.clocks.append((now, monotonic))
        return super().render(turn, now, monotonic)

    def name_of(self, device_id: str) -> str | None:
        return self.names.get(device_id, device_id)


def kept(case: Case, *selectors: str) -> Selection:
    """A selection that is kept, shown in its own way."""
    selection = Selection(frozenset(selectors), Noting())
    case.broker.keep(selection)
    return selection


def member(case: Case, selection: Selection) -> tuple[Subscription, Transport]:
    """One more that has selected it."""
    subscription, transport = case.subscriber()
    case.broker.select(subscription, selection)
    return subscription, transport


def test_members_of_a_kept_selection_get_what_it_covers() -> None:
    """Beside the cohort of the same devices that others chose: two cohorts, each its own members."""
    case = Case()
    selection = kept(case, "A", "b*")
    (joined, left), (_, right) = member(case, selection), case.subscriber("A", "b*")
    case.broker.publish([event("A"), event("c"), event("b1")])
    assert ids(left) == ids(right) == ["A-1", "b1-1"]
    assert (joined.sent, case.broker.tally.delivered) == (2, 4)
    assert case.things[:2] == (2, 2)


def test_kept_selection_lasts_without_members() -> None:
    """It goes on rendering what it covers, and one who joins later is not counted for that."""
    case = Case()
    renderer = Noting()
    selection = Selection(frozenset({"A"}), renderer)
    case.broker.keep(selection)
    subscription, _ = member(case, selection)
    case.broker.forget(subscription)
    case.broker.publish([event("A")])
    assert (len(renderer.came), case.broker.tally.delivered) == (1, 0)
    late, transport = member(case, selection)
    case.broker.publish([event("A")])
    assert (ids(transport), late.sent, subscription.sent) == (["A-2"], 1, 0)


def test_selection_that_is_not_kept_ends_with_its_last_member() -> None:
    """And is rendered no more."""
    case = Case()
    renderer = Noting()
    subscription, _ = member(case, Selection(frozenset({"A"}), renderer))
    case.broker.publish([event("A")])
    case.broker.forget(subscription)
    case.broker.publish([event("A")])
    assert len(renderer.came) == 1
    assert case.things == NOTHING


def test_render_is_a_turn_for_one_selection() -> None:
    """Deadlines first; a socket that is full has it wait, and nobody else is served."""
    case = Case()
    frames = Frames()
    selection = Selection(frozenset({"A"}), frames)
    case.broker.keep(selection)
    (_, quick), (slow, full), (_, other) = member(case, selection), member(case, selection), case.subscriber("A")
    full.fill()
    frames.ready.append(Entry("A", event("A").kind, FRAME))
    turns = case.turns
    case.broker.render(selection)
    assert case.turns == turns + 1
    assert (quick.data, full.data, other.data, slow.waiting) == (FRAME, b"", b"", (1, len(FRAME)))
    assert case.broker.tally.delivered == 1
    full.drain()
    assert full.data == FRAME
    assert case.broker.tally.delivered == 2


def test_render_of_what_is_not_there_is_no_error() -> None:
    """A timer may come when the last has gone."""
    case = Case()
    case.broker.render(Selection(frozenset({"A"}), Frames()))
    assert case.things == NOTHING


def test_delivered_counts_what_was_written_and_not_what_came() -> None:
    """A renderer may make more or fewer entries of a turn."""

    class Half(PayloadRenderer):
        def render(self, turn: Sequence[Message], now: float, monotonic: float) -> Sequence[Entry]:
            return super().render(turn, now, monotonic)[::2]

    case = Case()
    selection = Selection(frozenset({"A"}), Half("k"))
    case.broker.keep(selection)
    (one, _), _ = member(case, selection), member(case, selection)
    case.broker.publish([event("A")] * 5)
    assert (case.broker.tally.delivered, one.sent) == (6, 3)


def test_telemetry_that_is_rendered_is_the_raw_message() -> None:
    """What is made of it is the renderer's own affair; it gets both clocks."""
    case = Case()
    renderer = Noting()
    case.broker.keep(Selection(frozenset({"A"}), renderer))
    message = event("A", '{"x": 1}')
    case.broker.publish([message])
    assert len(renderer.came) == 1
    assert renderer.came[0] is message
    assert renderer.clocks == [(case.clock.now, case.monotonic.now)]


def test_frame_is_made_once_for_all_cohorts_that_show_it_alike() -> None:
    """Encode once, however many different selections share a renderer: their outboxes hold one frame."""
    case = Case()
    members = [case.subscriber("A"), case.subscriber("A", "B"), case.subscriber("A*")]
    for _, transport in members:
        transport.fill()
    case.broker.publish([event("A")])
    frames = [subscription.outbox.take(1)[0] for subscription, _ in members if subscription.outbox is not None]
    assert len(frames) == 3
    assert frames[0] is frames[1] is frames[2]


def test_losses_are_told_by_the_names_that_members_know() -> None:
    """An alias, and nothing at all where they must not hear that the device sends."""
    case = Case()
    selection = Selection(frozenset({"A", "B"}), Noting({"A": "Van 1", "B": None}))
    subscription, transport = member(case, selection)
    case.broker.lost({"B": 7}, 0)
    assert (transport.writes, subscription.dropped) == (0, 0)
    case.broker.lost({"A": 3, "B": 7}, 0)
    (gap,) = transport.events()
    assert (gap["data"]["devices"], gap["data"]["count"], subscription.dropped) == ({"Van 1": 3}, 3, 3)


@pytest.mark.parametrize("others", [False, True])
def test_members_that_are_left_when_a_selection_is_released_are_forgotten(others: bool) -> None:
    """A socket that was cut may still be there: when its own end comes, nobody else's selection is touched."""
    case = Case()
    selection = kept(case, "A")
    subscription, transport = member(case, selection)
    transport.fill()
    case.broker.publish([event("A")])
    other = case.subscriber("A") if others else None
    case.broker.release(selection)
    assert (subscription.outbox, subscription.dropped) == (None, 1)
    case.broker.forget(subscription)
    case.broker.publish([event("A")])
    transport.drain()
    assert transport.writes == 0
    if other is not None:
        assert ids(other[1]) == ["A-2"]
        case.broker.forget(other[0])
    assert case.things == NOTHING


# --- nothing left behind, whatever the order --------------------------------------------------------------------

DEVICES = ["A", "B", "a1", "a2"]
SELECTORS = ["A", "B", "a1", "a*", "*1", "*"]
COVERED = {"A": ["A"], "B": ["B"], "a1": ["a1"], "a*": ["a1", "a2"], "*1": ["a1"], "*": DEVICES}
selections = st.lists(st.sampled_from(SELECTORS), max_size=3)
steps = st.one_of(
    st.tuples(st.just("select"), st.integers(0, 2), selections),
    st.tuples(st.just("join"), st.integers(3, 5), st.integers(0, 2)),
    st.tuples(st.just("forget"), st.integers(0, 5)),
    st.tuples(st.just("keep"), st.integers(0, 2), selections.filter(bool)),
    st.tuples(st.just("release"), st.integers(0, 2)),
    st.tuples(st.just("stall"), st.integers(0, 5)),
    st.tuples(st.just("publish"), st.lists(st.sampled_from(DEVICES), max_size=4)),
)


class Model:
    """Six sockets, of which three choose for themselves and three select what is kept."""

    def __init__(self) -> None:
        self.case = Case()
        self.subscriptions: list[Subscription] = []
        self.transports: list[Transport] = []
        self.came: list[list[str]] = [[] for _ in range(6)]
        self.wanted: dict[int, frozenset[str]] = {}
        self.kept: dict[int, Selection] = {}
        self.joined: dict[int, int] = {}
        self.expected: list[list[str]] = [[] for _ in range(6)]
        self.published = Counter[str]()
        self.delivered = 0
        for _ in range(6):
            subscription, transport = self.case.subscriber(messages=1000)
            self.subscriptions.append(subscription)
            self.transports.append(transport)

    def take(self, step: tuple[Any, ...]) -> None:
        getattr(self, step[0])(*step[1:])

    def _renew(self, number: int) -> None:
        """What was forgotten is never used again: its place is taken by a new one."""
        self.came[number] += ids(self.transports[number])
        self.subscriptions[number], self.transports[number] = self.case.subscriber(messages=1000)

    def select(self, number: int, selectors: list[str]) -> None:
        self.catch_up(number)
        self.wanted[number] = frozenset(selectors)
        self.case.select(self.subscriptions[number], *selectors)

    def join(self, number: int, which: int) -> None:
        if which in self.kept and number not in self.joined:
            self.joined[number] = which
            self._renew(number)
            self.case.broker.select(self.subscriptions[number], self.kept[which])
            self.wanted[number] = self.kept[which].device_ids

    def forget(self, number: int) -> None:
        self.catch_up(number)
        self.case.broker.forget(self.subscriptions[number])
        self.wanted.pop(number, None)
        self.joined.pop(number, None)
        self._renew(number)

    def keep(self, which: int, selectors: list[str]) -> None:
        if which not in self.kept:
            self.kept[which] = kept(self.case, *selectors)

    def release(self, which: int) -> None:
        if which in self.kept:
            for number in [one for one, room in self.joined.items() if room == which]:
                self.catch_up(number)
                del self.joined[number], self.wanted[number]
            self.case.broker.release(self.kept.pop(which))

    def stall(self, number: int) -> None:
        self.transports[number].fill()

    def catch_up(self, number: int) -> None:
        self.transports[number].drain()
        self.case.loop.run()

    def publish(self, devices: list[str]) -> None:
        for device_id in devices:
            self.published[device_id] += 1
            for number, selectors in self.wanted.items():
                if any(device_id in COVERED[selector] for selector in selectors):
                    self.expected[number].append(f"{device_id}-{self.published[device_id]}")
                    self.delivered += 1
        self.case.broker.publish([event(device_id) for device_id in devices])

    def check(self) -> None:
        stats = self.case.broker.statistics()
        chosen = {self.wanted[number] for number in range(3) if self.wanted.get(number)}
        assert stats.cohorts == len(chosen) + len(self.kept)
        assert stats.subscriptions == sum(bool(selectors) for selectors in self.wanted.values())
        in_use = chosen | {selection.device_ids for selection in self.kept.values()}
        assert stats.selectors == len(frozenset().union(*in_use))


@settings(max_examples=150)
@given(st.lists(steps, max_size=30))
def test_any_order_of_changes_delivers_what_is_wanted_and_leaves_nothing(script: list[tuple[Any, ...]]) -> None:
    """Each socket gets each message that it wants, once and in order, stalled or not; the tally is their sum."""
    model = Model()
    for step in script:
        model.take(step)
        model.check()
    for number in range(6):
        model.catch_up(number)
        model.came[number] += ids(model.transports[number])
    assert model.came == model.expected
    assert model.case.broker.tally.delivered == model.delivered
    for which in range(3):
        model.release(which)
    for number in range(6):
        model.forget(number)
    model.check()
    assert model.case.things == NOTHING
    assert model.case.loop.run() == 0
