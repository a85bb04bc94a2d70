"""Devices in one outbox: a chatty one never pushes a quiet one out, and that costs no search through all."""

from __future__ import annotations

import tracemalloc

import pytest

from bridge.core.telemetry import Kind
from bridge.fanout.outbox import Outbox, OutboxLimits, Policy
from bridge.fanout.ranking import Claim, Ranking
from bridge.fanout.rendering import Entry
from tests.unit.fanout.test_outbox import E, P, fill, outbox, rest

FAIR = [Policy.LATEST, Policy.DROP_OLDEST]
QUIET = [f"quiet-{number}" for number in range(10)]


def entries(device_id: str, count: int, kind: Kind = E, size: int = 100) -> list[Entry]:
    """As many messages of one device, in order."""
    return [Entry(device_id, kind, f"{device_id}/{number}".encode().ljust(size)) for number in range(count)]


def devices(box: Outbox) -> dict[str, int]:
    """How many messages of each device wait; afterwards the outbox is empty."""
    names = [frame.split(b"/")[0].decode() for frame in box.take(10**9)]
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize("kind", [P, E])
@pytest.mark.parametrize("policy", FAIR)
@pytest.mark.parametrize("messages, frame_bytes", [(11, 10**6), (16, 10**6), (100, 10**6), (1000, 1100), (1000, 3000)])
@pytest.mark.parametrize("quiet_at", [0, 1, 500, 999])
def test_one_chatty_device_beside_ten_quiet_ones(
    policy: Policy, kind: Kind, messages: int, frame_bytes: int, quiet_at: int
) -> None:
    """All ten arrive, whichever bound is full and whenever they come, and what is lost is the chatty one's."""
    box = Outbox(OutboxLimits(messages, frame_bytes, policy), 0.0)
    chatty = entries("chatty", 1000, E)
    script = [*chatty[:quiet_at], *(entry for name in QUIET for entry in entries(name, 1, kind)), *chatty[quiet_at:]]
    for entry in script:
        box.offer(entry)
    assert set(box.gap.devices) == {"chatty"}
    arrived = devices(box)
    assert {name: arrived.pop(name) for name in QUIET} == dict.fromkeys(QUIET, 1)
    assert arrived.get("chatty", 0) == min(messages, frame_bytes // 100) - 10


def test_what_goes_is_the_oldest_message_of_the_device_that_holds_the_most() -> None:
    """Not the oldest of all, and not the newest of that device."""
    box = outbox(Policy.DROP_OLDEST, messages=6)
    fill(box, "A1 B1 B2 C1 B3 C2")
    fill(box, "D1")
    assert dict(box.gap.devices) == {"B": 1}
    assert rest(box) == "A1 B2 C1 B3 C2 D1"


def test_of_devices_that_hold_as_much_the_one_with_the_oldest_message_loses_it() -> None:
    """Whatever their names, and in whatever order they came to hold it."""
    box = outbox(Policy.DROP_OLDEST, messages=6)
    fill(box, "A1 C1 B1 B2 C2 A2")
    fill(box, "D1 E1 F1 G1")
    assert dict(box.gap.devices) == {"A": 1, "C": 1, "B": 2}
    assert rest(box) == "C2 A2 D1 E1 F1 G1"


def test_newcomer_counts_with_those_of_its_device_that_wait() -> None:
    """Where all hold one, a second of the same device costs that device, and not the one that came first."""
    box = outbox(Policy.DROP_OLDEST)
    fill(box, "A1 B1 C1 C2 C3")
    assert dict(box.gap.devices) == {"C": 2}
    assert rest(box) == "A1 B1 C3"


def test_measure_is_the_one_that_is_full() -> None:
    """A few long messages take much room, many short ones many places: each gives way in its own measure."""
    box = outbox(Policy.DROP_OLDEST, messages=5, frame_bytes=40)
    box.offer(Entry("L", E, b"L".ljust(20)))
    fill(box, "S1 S2 S3")
    box.offer(Entry("N", E, b"N".ljust(18)))  # full in bytes: L holds the most
    assert dict(box.gap.devices) == {"L": 1}
    fill(box, "M1 O1")  # full in messages: S holds the most
    assert dict(box.gap.devices) == {"L": 1, "S": 1}


def test_devices_that_are_wanted_no_more_do_not_count() -> None:
    """What was forgotten leaves no claim behind, and a device that comes again begins with nothing."""
    box = outbox(Policy.DROP_OLDEST, messages=5)
    fill(box, "A1 A2 A3 A4 B1 A5")
    box.retain(lambda device_id: device_id != "A")
    fill(box, "A6 B2 C1 D1 E1")
    assert rest(box) == "A6 B2 C1 D1 E1"
    assert dict(box.gap.devices) == {"B": 1}


# --- what it costs --------------------------------------------------------------------------------------------


def claims_made(known: int, steps: int) -> int:
    """How often a ranking of so many devices asks what one may claim, while one chatty device comes and goes."""
    held = dict.fromkeys([f"d{number}" for number in range(known)], (1, 0))
    held["chatty"] = (known, 0)
    asked = 0

    def claim(device_id: str, share: tuple[int, int], more: int) -> Claim:
        nonlocal asked
        asked += 1
        return (-share[0] - more, share[1], device_id)

    ranking = Ranking(held, claim)
    begun = asked
    for step in range(1, steps + 1):
        assert ranking.first(f"new-{step}", 1) == "chatty"
        held["chatty"] = (known - 1, step)
        held["chatty"] = (known, step)
        ranking.grown("chatty")
    return asked - begun


@pytest.mark.parametrize("known", [10, 100, 1000, 10_000])
def test_eviction_does_not_cost_the_number_of_devices(known: int) -> None:
    """A fixed number of looks for each message that has to go, however many devices wait beside the chatty one."""
    assert claims_made(known, 3000) <= 4 * 3000


def looks(known: int, script: list[Entry], limits: OutboxLimits) -> float:
    """Comparisons of device ids, hashes included, for each message of ``script``, in an outbox that knows so many."""

    looked = 0

    class Name(str):
        __slots__ = ()

        def __hash__(self) -> int:
            nonlocal looked
            looked += 1
            return super().__hash__()

        def __eq__(self, other: object) -> bool:
            nonlocal looked
            looked += 1
            return super().__eq__(other)

    box = Outbox(limits, 0.0)
    for number in range(known):
        box.offer(Entry(Name(f"d{number}"), E, b"x" * 100))
    warm, *rest_of_script = [entry._replace(device_id=Name(entry.device_id)) for entry in script]
    box.offer(warm)
    looked = 0
    for entry in rest_of_script:
        box.offer(entry)
    assert box.gap.dropped >= len(rest_of_script) // 2
    return looked / len(rest_of_script)


@pytest.mark.parametrize("policy", FAIR)
def test_offers_to_a_full_outbox_cost_the_same_for_ten_devices_and_for_thousands(policy: Policy) -> None:
    """One chatty device, a new device with each message, and two sizes that fill both bounds in turns."""
    for script in (
        entries("chatty", 1000),
        [Entry(f"n{number}", E, b"x" * 100) for number in range(1000)],
        [Entry("mixed", E, b"x" * (150 if number % 2 else 50)) for number in range(1000)],
        [Entry(f"m{number}", E, b"x" * (150 if number % 2 else 50)) for number in range(1000)],
    ):
        few, many = (looks(known, script, OutboxLimits(known, 100 * known, policy)) for known in (10, 3000))
        assert many < 4 * few + 20


@pytest.mark.parametrize("policy", FAIR)
def test_client_that_reads_nothing_for_ever_costs_no_more_than_the_bound(policy: Policy) -> None:
    """After messages that took each other's place come thousands of positions that only conflate: nothing stays."""
    script = [Entry(f"d{number % 7}", P if number % 3 else E, b"x" * (40 + number * 7 % 50)) for number in range(1000)]
    script += [Entry(f"d{number % 7}", P, b"x" * (30 + number * 5 % 8)) for number in range(4000)]
    box = Outbox(OutboxLimits(100, 5000, policy), 0.0)
    tracemalloc.start()
    try:
        for entry in script[:1000]:
            box.offer(entry)
        full, _ = tracemalloc.get_traced_memory()
        for entry in script[1000:]:
            box.offer(entry)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - full < 16 * 1024
    assert box.gap.dropped + box.gap.conflated + len(box) == len(script)
