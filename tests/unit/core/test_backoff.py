"""Waits between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.backoff import BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS, full_jitter


def longest(low: float, high: float) -> float:
    """The unluckiest chance."""
    assert low == 0.0
    return high


@pytest.mark.parametrize("attempt, seconds", [(0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0), (7, 30.0), (10**9, 30.0)])
def test_longest_wait_doubles_up_to_the_cap(attempt: int, seconds: float) -> None:
    """Half a second, then twice as long each time, and never above half a minute, also after months of failing."""
    assert full_jitter(attempt, longest) == seconds


def test_shortest_wait_is_none() -> None:
    """Full jitter: anything from zero, so that clients which lost the same server do not come together."""
    assert full_jitter(9, lambda low, high: low) == 0.0


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0.001, 10), st.floats(0.001, 600))
def test_wait_stays_within_its_bounds(attempt: int, chance: float, base: float, cap: float) -> None:
    """Whatever the settings and the luck."""
    assert 0 <= full_jitter(attempt, lambda low, high: low + chance * (high - low), base, cap) <= cap


def test_bounds_are_those_of_the_docstring() -> None:
    """5,000 clients over the cap are fewer than 200 a second."""
    assert 5000 / BACKOFF_CAP_SECONDS < 200
    assert BACKOFF_BASE_SECONDS < BACKOFF_CAP_SECONDS
