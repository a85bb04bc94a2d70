"""Which event loop runs the server."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Final

from bridge.core.errors import StartError

GC_THRESHOLDS: Final = (20_000, 50, 100)
"""Fan-out makes no cycles, so the collector's default of one run per 700 objects finds nothing and, with
10,000 sockets to look through, holds up the loop for more than 100 ms in its oldest generation."""


def run(main: Coroutine[Any, Any, int], loop_name: str) -> int:
    """Run ``main`` to its end on the loop of that name: ``auto``, ``uvloop`` or ``asyncio``.

    StartError when ``uvloop`` is asked for and not installed.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_factory(loop_name)) as runner:
        return runner.run(main)


def _factory(loop_name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if loop_name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if loop_name == "uvloop":
                raise StartError("BRIDGE_EVENT_LOOP=uvloop, but uvloop is not installed: pip install uvloop") from None
        else:
            return uvloop.new_event_loop
    return asyncio.new_event_loop
