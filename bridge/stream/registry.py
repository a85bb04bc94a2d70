"""The open streams of one process, and what concerns all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Protocol

from bridge.core.rates import Episodes
from bridge.core.telemetry import Telemetry, UpstreamState
from bridge.fanout.broker import Broker
from bridge.protocol.closing import CloseReason

log = logging.getLogger("bridge.stream.registry")


class Stream(Hashable, Protocol):
    """One open stream, whatever its protocol."""

    def tell_upstream(self, state: UpstreamState) -> None:
        """Say when the link to the MQTT broker was lost or came back."""

    def close(self, reason: CloseReason) -> None:
        """Say why, and end within a bounded time."""

    def abort(self) -> None:
        """End now, without a word."""

    def not_authenticated(self) -> None:
        """No valid token came in time."""

    def stalled(self) -> None:
        """The client has not read for too long."""


class Streams:
    """A stream is here from its upgrade until its connection is gone."""

    def __init__(self) -> None:
        self._open: dict[Stream, None] = {}
        self.upstream_state = UpstreamState.DOWN

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._open))

    def add(self, stream: Stream) -> None:
        """``stream`` was opened."""
        self._open[stream] = None

    def discard(self, stream: Stream) -> None:
        """Its connection is gone."""
        self._open.pop(stream, None)

    def upstream(self, state: UpstreamState) -> None:
        """The link to the MQTT broker is up or down: tell everyone, once for each change."""
        if state is not self.upstream_state:
            self.upstream_state = state
            for stream in self:
                stream.tell_upstream(state)

    def close(self, reason: CloseReason) -> None:
        """Close all of them together."""
        for stream in self:
            stream.close(reason)

    def abort(self) -> None:
        """Cut the connections of those that are left."""
        for stream in self:
            stream.abort()


class Intake:
    """What the handoff brings to the loop: telemetry and losses for the broker, the link's state for the streams."""

    def __init__(self, broker: Broker, streams: Streams, monotonic: Callable[[], float]) -> None:
        self._broker = broker
        self._monotonic = monotonic
        self._late_messages = 0
        self._episodes = Episodes()
        self.publish: Callable[[Sequence[Telemetry]], None] = broker.publish
        self.upstream: Callable[[UpstreamState], None] = streams.upstream

    def lost(self, counts: Mapping[str, int], others: int) -> None:
        """Messages were dropped because the loop was late: a line in the log a minute, a ``gap`` for all concerned."""
        self._late_messages += sum(counts.values()) + others
        if self._episodes.due("late", self._late_messages, self._monotonic()):
            log.warning("The event loop was late: %d messages were dropped so far, see `gap`", self._late_messages)
        self._broker.lost(counts, others)
