"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
DEADLINE_SECONDS = 60.0
"""Far above what any of the waits needs, on a busy machine too; reached only when the test fails."""
POLL_SECONDS = 0.01


def wait_until(condition: Callable[[], Value | None], seconds: float = DEADLINE_SECONDS, what: object = "") -> Value:
    """Return the condition's first true value; fail when it has none in ``seconds``.

    ``what`` is shown then; when it can be called it is called, for example to show a log.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > deadline  # before the look: this process may have been held up
        value = condition()
        if value:
            return value
        if is_last:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(POLL_SECONDS)
