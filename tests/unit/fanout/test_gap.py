"""What one socket has missed: exact in total, bounded in names."""

from __future__ import annotations

import pytest

from bridge.core.limits import MAX_GAP_DEVICES
from bridge.fanout.gap import Gap


def test_gap_names_a_bounded_number_of_devices() -> None:
    """The event must not grow with the fleet; the totals still hold everything."""
    gap = Gap(5.0)
    for number in range(MAX_GAP_DEVICES + 50):
        gap.note(f"d{number}", dropped=1)
    gap.note("d0", conflated=2)
    gap.note("late", conflated=1)
    data = gap.data("then")
    assert len(data["devices"]) == MAX_GAP_DEVICES
    assert data["devices"]["d0"] == 3
    assert (data["count"], data["dropped"], data["conflated"]) == (MAX_GAP_DEVICES + 53, MAX_GAP_DEVICES + 50, 3)
    assert data["since"] == "then"


def test_gap_is_exact_to_the_message() -> None:
    """Dropped and conflated apart in the totals, together by device."""
    gap = Gap(0.0)
    gap.note("A", dropped=2)
    gap.note("B", conflated=1)
    gap.note("A", conflated=3)
    assert gap.data("then") == {
        "count": 6, "dropped": 2, "conflated": 4, "devices": {"A": 5, "B": 1}, "since": "then",
    }  # fmt: skip


@pytest.mark.parametrize(
    "dropped, conflated, incomplete, told",
    [(0, 0, False, False), (1, 0, False, True), (0, 1, False, True), (0, 0, True, True)],
)
def test_gap_is_true_when_there_is_something_to_tell(
    dropped: int, conflated: int, incomplete: bool, told: bool
) -> None:
    """Also when all that is known is that more was lost than could be counted."""
    gap = Gap(0.0)
    if dropped or conflated:
        gap.note("A", dropped=dropped, conflated=conflated)
    gap.incomplete = incomplete
    assert bool(gap) is told


def test_incomplete_stands_in_the_event_only_where_it_is_true() -> None:
    """A client that does not know the word misses nothing when all is counted."""
    gap = Gap(0.0)
    assert "incomplete" not in gap.data("then")
    gap.incomplete = True
    assert gap.data("then")["incomplete"] is True
