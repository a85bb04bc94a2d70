"""The door between the consumer thread and the loop, with a loop that does only what the test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.limits import TURN_BYTES, TURN_MESSAGES
from bridge.core.telemetry import Telemetry, UpstreamState
from bridge.ingest.handoff import Handoff
from tests.fakes import Loop, event

UP, DOWN = UpstreamState.UP, UpstreamState.DOWN


class Receiver:
    """Notes what comes, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def publish(self, batch: Sequence[Telemetry]) -> None:
        self.told.append([message.device_id for message in batch])

    def lost(self, counts: Mapping[str, int], others: int) -> None:
        self.told.append(dict(counts))

    def upstream(self, state: UpstreamState) -> None:
        self.told.append(state)


class Case:
    def __init__(self, max_messages: int = 1000, max_bytes: int = 10**6) -> None:
        self.loop = Loop()
        self.receiver = Receiver()
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.handoff = Handoff(loop, max_messages=max_messages, max_bytes=max_bytes)

    def put(self, *device_ids: object, size: int = 2) -> None:
        self.handoff.put([event(str(device_id), "x" * size) for device_id in device_ids])

    def run(self) -> list[Any]:
        """Turns until nothing is left to do; what the receiver was told."""
        while self.loop.turn():
            pass
        told, self.receiver.told = self.receiver.told, []
        return told


# --- wake-ups ---------------------------------------------------------------------------------------------------


def test_burst_is_one_wake_up() -> None:
    """One system call per burst and not per batch; the next burst wakes again."""
    case = Case()
    case.handoff.open(case.receiver)
    assert case.run() == []
    for number in range(50):
        case.put(number)
    case.handoff.signal(UP)
    assert len(case.loop.woken) == 1
    assert case.run() == [UP, [str(number) for number in range(50)]]
    case.put("A")
    assert len(case.loop.woken) == 1
    assert case.run() == [["A"]]
    assert case.loop.turn() == 0


def test_what_came_before_the_door_opened_comes_first() -> None:
    """The thread may start before the loop listens; nobody is woken until then."""
    case = Case()
    case.handoff.signal(UP)
    case.put("A")
    assert case.loop.woken == []
    case.handoff.open(case.receiver)
    assert case.run() == [UP, ["A"]]


def test_drain_that_still_runs_is_not_woken_twice() -> None:
    """While the loop goes on by itself, a new batch is only appended."""
    case = Case()
    case.handoff.open(case.receiver)
    case.put(*range(TURN_MESSAGES + 1))
    case.loop.turn()
    case.put("new")
    assert (len(case.loop.woken), len(case.loop.soon)) == (0, 1)
    assert case.run()[-1] == [str(TURN_MESSAGES), "new"]


# --- turns ------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, TURN_BYTES * 2), max_size=200), max_size=6))
def test_turns_are_bounded_and_keep_the_order(batches: list[list[int]]) -> None:
    """However the thread cut its batches: at most TURN_MESSAGES, and TURN_BYTES or one message more, in a turn."""
    case = Case(max_messages=10**6, max_bytes=10**9)
    sizes = [size for batch in batches for size in batch]
    numbers = iter(range(len(sizes)))
    turns: list[list[int]] = []
    case.receiver.publish = lambda batch: turns.append([int(m.device_id) for m in batch])  # type: ignore[method-assign]
    case.handoff.open(case.receiver)
    for batch in batches:
        case.handoff.put([event(str(next(numbers)), "x" * size) for size in batch])
    assert case.handoff.statistics().waiting == len(sizes)
    case.run()
    assert [number for turn in turns for number in turn] == list(range(len(sizes)))
    for turn in turns:
        assert 0 < len(turn) <= TURN_MESSAGES
        assert sum(sizes[number] for number in turn[:-1]) <= TURN_BYTES
    assert (case.handoff.statistics().waiting, case.handoff.statistics().waiting_bytes) == (0, 0)


def test_turns_are_as_full_as_they_may_be() -> None:
    """Small batches are put together, so that each socket is written once per turn and not once per batch."""
    case = Case(max_messages=10**6)
    case.handoff.open(case.receiver)
    for number in range(TURN_MESSAGES * 2):
        case.put(number)
    assert [len(batch) for batch in case.run()] == [TURN_MESSAGES, TURN_MESSAGES]
    case.put(*range(TURN_MESSAGES - 8))
    case.put(*range(20))
    assert [len(batch) for batch in case.run()] == [TURN_MESSAGES, 12]
    for _ in range(2):
        case.put("A", "B", size=TURN_BYTES // 4)
    case.put("C", size=1)
    assert case.run() == [["A", "B", "A", "B"], ["C"]]


# --- bounds -----------------------------------------------------------------------------------------------------


def test_full_door_drops_the_oldest_batch_and_tells_by_device() -> None:
    """The newest values get through; what was lost is announced before them."""
    case = Case(max_messages=5)
    case.handoff.open(case.receiver)
    case.put("A", "A", "B")
    case.put("C", "D")
    assert case.handoff.statistics().dropped == 0
    case.put("E")
    stats = case.handoff.statistics()
    assert (stats.waiting, stats.dropped, stats.peak, stats.limit) == (3, 3, 5, 5)
    assert case.run() == [{"A": 2, "B": 1}, ["C", "D", "E"]]
    assert case.handoff.statistics().waiting == 0


def test_bound_in_bytes_is_as_hard() -> None:
    """Exactly the bound fits."""
    case = Case(max_bytes=10)
    case.handoff.open(case.receiver)
    case.put("A", size=4)
    case.put("B", size=6)
    assert case.handoff.statistics().dropped == 0
    case.put("C", size=1)
    assert case.run() == [{"A": 1}, ["B", "C"]]


def test_batch_above_the_bound_is_lost_as_a_whole() -> None:
    """The door never holds more than it may, not even for a moment that anyone could see."""
    case = Case(max_messages=2)
    case.handoff.open(case.receiver)
    case.put("A", "B", "C")
    assert (case.handoff.statistics().waiting, case.handoff.statistics().peak) == (0, 0)
    assert case.run() == [{"A": 1, "B": 1, "C": 1}]


@given(st.lists(st.lists(st.integers(0, 9), max_size=8) | st.none(), max_size=40))
def test_bounds_hold_and_every_message_is_accounted_for(steps: list[list[int] | None]) -> None:
    """Put and turn in any order: waiting within both bounds, and put = delivered + lost at the end."""
    case = Case(max_messages=10, max_bytes=40)
    case.handoff.open(case.receiver)
    count = 0
    for sizes in steps:
        if sizes is None:
            case.loop.turn()
        else:
            case.handoff.put([event(str(count + n), "x" * size) for n, size in enumerate(sizes)])
            count += len(sizes)
        assert case.handoff.statistics().waiting <= 10
        assert 0 <= case.handoff.statistics().waiting_bytes <= 40
    told = case.run()
    delivered = [int(name) for one in told if isinstance(one, list) for name in one]
    lost = [int(name) for one in told if isinstance(one, dict) for name in one]
    assert delivered == sorted(delivered)
    assert sorted(delivered + lost) == list(range(count))
    assert case.handoff.statistics().dropped == len(lost)


# --- the link's state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("states, told", [([UP], UP), ([DOWN, UP], UP), ([UP, DOWN], DOWN), ([UP, UP], UP)])
def test_only_the_newest_state_is_told(states: list[UpstreamState], told: UpstreamState) -> None:
    """A link that flaps while the loop is busy is one change, or none."""
    case = Case()
    case.handoff.open(case.receiver)
    case.run()
    for state in states:
        case.handoff.signal(state)
    assert case.run() == [told]


def test_up_comes_before_messages_and_down_after() -> None:
    """As it was: messages come while the link is up."""
    case = Case()
    case.handoff.open(case.receiver)
    case.put("A")
    case.handoff.signal(UP)
    assert case.run() == [UP, ["A"]]
    case.put("B")
    case.handoff.signal(DOWN)
    assert case.run() == [["B"], DOWN]


# --- the end ------------------------------------------------------------------------------------------------------


def test_nothing_passes_a_closed_door() -> None:
    """Not what waited, nor losses or states that were not told yet; a wake-up under way finds nothing."""
    case = Case(max_messages=2)
    case.handoff.open(case.receiver)
    case.put("A", "B")
    case.put("C")
    case.handoff.signal(DOWN)
    case.handoff.close()
    assert case.run() == []
    case.put("D")
    case.handoff.signal(UP)
    assert case.run() == []
    assert case.handoff.statistics().waiting == 0


def test_thread_that_outlives_the_loop_harms_nobody() -> None:
    """The loop is closed, the thread does not know yet: nothing is raised and nothing piles up."""
    case = Case()
    case.handoff.open(case.receiver)
    case.run()
    case.loop.closed = True
    case.put("A")
    case.handoff.signal(DOWN)
    case.put("B")
    assert case.handoff.statistics().waiting == 0


def test_bug_in_the_receiver_costs_one_turn() -> None:
    """It is raised, for the log; what comes after it is still delivered."""
    case = Case()
    case.handoff.open(case.receiver)
    case.run()
    good = case.receiver.publish

    def bad(batch: Sequence[Telemetry]) -> None:
        case.receiver.publish = good  # type: ignore[method-assign]
        raise ZeroDivisionError

    case.receiver.publish = bad  # type: ignore[method-assign]
    case.put(*range(TURN_MESSAGES), "next")
    with pytest.raises(ZeroDivisionError):
        case.loop.turn()
    assert case.run() == [["next"]]


async def test_real_thread_and_real_loop_pass_every_message_in_order() -> None:
    """A thread that puts as fast as it can, in batches of all sizes; the loop gets all, or hears what it lost."""
    count, done = 30_000, asyncio.Event()
    got: list[int] = []
    lost, unnamed = list[int](), [0]

    class Last(Receiver):
        def publish(self, batch: Sequence[Telemetry]) -> None:
            got.extend(int(message.device_id) for message in batch)
            if got[-1] == count - 1:
                done.set()

        def lost(self, counts: Mapping[str, int], others: int) -> None:
            unnamed[0] += others
            lost.extend(map(int, counts))

    handoff = Handoff(asyncio.get_running_loop(), max_messages=2000)
    handoff.open(Last())

    def work() -> None:
        number = 0
        while number < count:
            size = min(number % 300 + 1, count - number)
            handoff.put([event(str(number + one)) for one in range(size)])
            number += size

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.wait_for(done.wait(), 30)
    thread.join()
    assert got == sorted(got)
    assert len(set(got + lost)) + unnamed[0] == len(got + lost) + unnamed[0] == count
    assert handoff.statistics().dropped == len(lost) + unnamed[0]
