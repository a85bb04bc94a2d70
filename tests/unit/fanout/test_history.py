"""Last-known messages: two kinds for each device, bounded in devices and bytes."""

from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.telemetry import Kind, Telemetry
from bridge.fanout.history import LastKnown
from tests.fakes import event, position

NOW = 3600.0
"""Monotonic."""


def remembered(history: LastKnown, device_id: str) -> list[tuple[int, Telemetry]]:
    """What is known of one device."""
    return [(one.sequence, one.message) for one in history.of(device_id)]


def test_newest_position_and_newest_event_are_kept() -> None:
    """Each kind by itself, given back in the order in which they came, with the time of each."""
    history = LastKnown()
    for number, message in enumerate([position("A", "1"), event("A", "2"), position("A", "3")]):
        history.remember(number, message, NOW + number)
    assert remembered(history, "A") == [(1, event("A", "2")), (2, position("A", "3"))]
    assert [one.received_monotonic for one in history.of("A")] == [NOW + 1, NOW + 2]
    assert remembered(history, "B") == []
    assert list(history.device_ids()) == ["A"]


def test_device_that_was_silent_longest_is_forgotten_first() -> None:
    """A device that speaks again moves to the end of the line."""
    history = LastKnown(max_devices=2)
    for number, name in enumerate(["A", "B", "A", "C"]):
        history.remember(number, event(name), NOW)
    assert list(history.device_ids()) == ["A", "C"]
    assert history.statistics().forgotten == 1


def test_bound_in_bytes_holds() -> None:
    """Exactly the bound is kept; one byte more costs the device that was silent longest, with both its messages."""
    history = LastKnown(max_bytes=10)
    for number, message in enumerate([event("A", "12"), position("A", "34"), event("B", "567890")]):
        history.remember(number, message, NOW)
    assert (history.statistics().devices, history.statistics().payload_bytes) == (2, 10)
    history.remember(9, event("B", "5678901"), NOW)
    assert remembered(history, "A") == []
    assert history.statistics().payload_bytes == 7


def test_one_device_above_the_bound_is_still_known() -> None:
    """Its own message is not refused: what is too large for that was refused by the decoder."""
    history = LastKnown(max_bytes=1)
    history.remember(1, event("A", "12345"), NOW)
    assert len(remembered(history, "A")) == 1


@given(
    st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from(Kind), st.integers(0, 9)), max_size=40),
    st.integers(1, 4),
    st.integers(5, 40),
)
def test_account_of_bytes_is_exact(steps: list[tuple[str, Kind, int]], max_devices: int, max_bytes: int) -> None:
    """After any sequence of messages: bounds kept, bytes as stored, the newest message always there."""
    history = LastKnown(max_devices=max_devices, max_bytes=max_bytes)
    for number, (name, kind, size) in enumerate(steps):
        message = Telemetry(name, kind, b"x" * size)
        history.remember(number, message, NOW)
        known = list(history.device_ids())
        stats = history.statistics()
        assert stats.devices == len(known) <= max_devices
        assert stats.payload_bytes == sum(len(m.payload) for one in known for _, m in remembered(history, one))
        assert stats.payload_bytes <= max_bytes or len(known) == 1
        assert next(reversed(history._devices)) == name
        assert set(known) == set(history._devices)
        assert remembered(history, name)[-1] == (number, message)


def test_forgetting_takes_no_longer_the_more_is_known() -> None:
    """A stranger who invents device ids pushes one out with each: finding it must not cost a search through all."""

    def seconds(known: int) -> float:
        history = LastKnown(max_devices=known)
        messages = iter([event(f"d{number}") for number in range(4 * known + 5000)])
        for message in itertools.islice(messages, 4 * known):
            history.remember(1, message, NOW)
        began = time.process_time()
        for message in messages:
            history.remember(1, message, NOW)
        return time.process_time() - began

    assert min(seconds(16_000) for _ in range(3)) < 3 * min(seconds(1000) for _ in range(3))
