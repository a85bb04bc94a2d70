"""The one door between the consumer thread and the event loop.

The thread puts batches in; the loop takes them out, a bounded number per turn. There is one wake-up per
burst: a thread that finds the loop already woken only appends. (One ``call_soon_threadsafe`` per message
costs a system call each and lets the loop's own queue grow without bound: dask/distributed#3223.)
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.core.limits import HANDOFF_BYTES, HANDOFF_LOST_DEVICES, HANDOFF_MESSAGES, TURN_BYTES, TURN_MESSAGES
from bridge.core.telemetry import Telemetry, UpstreamState


class Receiver(Protocol):
    """What the handoff delivers to, on the loop. None of these may block or raise."""

    def publish(self, batch: Sequence[Telemetry]) -> None:
        """Messages in the order in which they arrived."""

    def lost(self, counts: Mapping[str, int], others: int) -> None:
        """Messages were dropped: by device, and those that could not be counted by device."""

    def upstream(self, state: UpstreamState) -> None:
        """The link to the MQTT broker came up or went down."""


@dataclass(frozen=True, slots=True)
class HandoffStatistics:
    """``waiting`` and ``peak`` in messages, now and at most; ``dropped`` in messages since start.

    ``waiting_bytes`` are those of the payloads that wait now.
    """

    waiting: int
    limit: int
    peak: int
    dropped: int
    waiting_bytes: int


class Handoff:
    """Bounded in messages and bytes. When full the oldest batch is dropped and counted, for the first
    HANDOFF_LOST_DEVICES devices by device.

    ``put`` and ``signal`` are for the thread, everything else is for the loop. After ``close`` both
    return at once and do nothing, so a thread that is still running does no harm.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        max_messages: int = HANDOFF_MESSAGES,
        max_bytes: int = HANDOFF_BYTES,
    ) -> None:
        self._loop = loop
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._batches: deque[tuple[list[Telemetry], int]] = deque()
        self._messages = 0
        self._bytes = 0
        self._state: UpstreamState | None = None
        self._lost: Counter[str] = Counter()
        self._lost_others = 0
        self._dropped = 0
        self._peak = 0
        self._woken = False
        self._receiver: Receiver | None = None
        self._closed = False

    def open(self, receiver: Receiver) -> None:
        """Begin to pass on to ``receiver``. Whatever the thread has put before comes first."""
        with self._lock:
            self._receiver = receiver
            self._wake()

    def close(self) -> None:
        """Forget what waits and refuse what comes."""
        with self._lock:
            self._shut()

    def _shut(self) -> None:
        self._closed = True
        self._batches.clear()
        self._messages = self._bytes = 0
        self._lost.clear()
        self._lost_others = 0
        self._state = None

    def put(self, batch: list[Telemetry]) -> None:
        """Pass on a batch, in order. Never blocks and never raises; the caller gives the list away."""
        size = sum(len(message.payload) for message in batch)
        with self._lock:
            if self._closed:
                return
            self._batches.append((batch, size))
            self._messages += len(batch)
            self._bytes += size
            while (self._messages > self._max_messages or self._bytes > self._max_bytes) and self._batches:
                self._drop_oldest()
            self._peak = max(self._peak, self._messages)
            self._wake()

    def signal(self, state: UpstreamState) -> None:
        """Tell the loop about the link to the MQTT broker. Only the newest state is kept."""
        with self._lock:
            if self._closed:
                return
            self._state = state
            self._wake()

    def statistics(self) -> HandoffStatistics:
        """A snapshot; from any thread."""
        with self._lock:
            return HandoffStatistics(self._messages, self._max_messages, self._peak, self._dropped, self._bytes)

    def _drop_oldest(self) -> None:
        batch, size = self._batches.popleft()
        self._messages -= len(batch)
        self._bytes -= size
        self._dropped += len(batch)
        for message in batch:
            if message.device_id in self._lost or len(self._lost) < HANDOFF_LOST_DEVICES:
                self._lost[message.device_id] += 1
            else:
                self._lost_others += 1

    def _wake(self) -> None:
        if not self._woken and self._receiver is not None:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop is closed: the process is ending
                self._shut()

    def _drain(self) -> None:
        """One turn on the loop: at most TURN_MESSAGES, then the sockets get their turn."""
        receiver = self._receiver
        assert receiver is not None
        with self._lock:
            batch, more = self._take()
            lost, self._lost = self._lost, Counter()
            others, self._lost_others = self._lost_others, 0
            state, self._state = self._state, None
            self._woken = more
        try:
            if lost:
                receiver.lost(lost, others)
            if state is not None and state is UpstreamState.UP:
                receiver.upstream(state)
            if batch:
                receiver.publish(batch)
            if state is not None and state is not UpstreamState.UP:
                receiver.upstream(state)
        finally:  # a bug in the receiver costs this turn, not all that come after it
            if more:
                self._loop.call_soon(self._drain)

    def _take(self) -> tuple[list[Telemetry], bool]:
        """Up to one turn's worth of messages, and whether more wait."""
        taken: list[Telemetry] = []
        size = 0
        while self._batches and len(taken) < TURN_MESSAGES and size < TURN_BYTES:
            batch, batch_size = self._batches.popleft()
            room = TURN_MESSAGES - len(taken)
            if len(batch) > room or size + batch_size > TURN_BYTES:
                room, part = _fitting(batch, room, TURN_BYTES - size)
                if room < len(batch):
                    self._batches.appendleft((batch[room:], batch_size - part))
                batch, batch_size = batch[:room], part
            taken = taken + batch if taken else batch
            size += batch_size
        self._messages -= len(taken)
        self._bytes -= size
        return taken, bool(self._batches)


def _fitting(batch: list[Telemetry], room: int, room_bytes: int) -> tuple[int, int]:
    """How many messages of ``batch`` fit, at least one, and their size in bytes."""
    size = 0
    for number, message in enumerate(batch[:room]):
        if number and size + len(message.payload) > room_bytes:
            return number, size
        size += len(message.payload)
    return min(room, len(batch)), size
