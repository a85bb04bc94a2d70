"""What every session of a process is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bridge.core.timeouts import Timeouts
from bridge.core.times import Timer
from bridge.fanout.broker import Broker
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.stream.deadlines import Deadlines
from bridge.stream.heartbeat import Heartbeat
from bridge.stream.limits import StreamLimits
from bridge.stream.registry import Stream, Streams


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The same for all of them, and unchanged while the process runs."""

    broker: Broker
    streams: Streams
    deadlines: Deadlines
    heartbeat: Heartbeat
    heartbeat_seconds: float
    outbox_limits: Mapping[Policy, OutboxLimits]
    limits: StreamLimits
    unauthenticated: Timeouts[Stream]
    """Streams that have to present a token."""
    stalled: Timeouts[Stream]
    """Streams whose client does not take what was written."""
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    call_later: Callable[[float, Callable[[], None]], Timer]
    released: Callable[[str], None]
    """Gives the place of a client address back that the stream was admitted to."""
