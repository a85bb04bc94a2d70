"""How long to wait before the next attempt. Pure: no clock, chance comes in as an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BACKOFF_BASE_SECONDS: Final = 0.5
"""Upper bound of the first wait: a restart on the same machine takes about as long."""
BACKOFF_CAP_SECONDS: Final = 30.0
"""Upper bound of every wait: 5,000 clients then arrive at 170 a second, which one core serves."""


def full_jitter(
    attempt: int,
    uniform: Callable[[float, float], float],
    base: float = BACKOFF_BASE_SECONDS,
    cap: float = BACKOFF_CAP_SECONDS,
) -> float:
    """Seconds to wait before attempt number ``attempt + 1``; ``attempt`` counts failures from 0.

    Anything from 0 to ``min(cap, base * 2**attempt)``, so that clients which lost the same server do not
    come back together ("Exponential Backoff and Jitter", AWS Architecture Blog, 2015: full jitter).
    ``uniform(low, high)`` is the source of chance, such as ``random.uniform``.
    """
    # The exponent is bounded because 2**1100 does not fit a float, and attempts can go on for months.
    return uniform(0.0, min(cap, base * 2.0 ** min(attempt, 32)))
