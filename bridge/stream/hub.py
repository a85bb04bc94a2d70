"""What all streams of one process share."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from bridge.access.admission import Admission
from bridge.access.authenticator import Authenticator
from bridge.access.claims import SCOPES
from bridge.access.client_address import parse_networks
from bridge.access.origins import OriginPolicy
from bridge.access.principal import Principal
from bridge.core.device_ids import EVERYTHING, Allowed, Groups
from bridge.core.telemetry import Telemetry, UpstreamState
from bridge.fanout.broker import Broker
from bridge.fanout.history import LastKnown
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.subscription import EPISODE_SECONDS
from bridge.protocol.closing import CloseReason
from bridge.settings import Settings
from bridge.stream.deadlines import Deadlines
from bridge.stream.heartbeat import Heartbeat

log = logging.getLogger("bridge.stream.hub")

EPOCH_BYTES = 3
"""Random bytes that tell one run of the process from another in message ids: ``k3f9-15234``."""


class Stream(Protocol):
    """One open stream, whatever its protocol."""

    def tell_upstream(self, state: UpstreamState) -> None: ...
    def close(self, reason: CloseReason) -> None: ...
    def abort(self) -> None: ...


class Hub:
    """Owned by the application, one per process. Must be made on the running loop."""

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator | None,
        groups: Groups,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``authenticator`` None means AUTH=off: everyone may see everything."""
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.authenticator = authenticator
        self.groups = groups
        self.clock = clock
        self.monotonic = time.monotonic  # which every loop goes by, but uvloop's own is cut to milliseconds
        self.call_later = loop.call_later
        self.deadlines = Deadlines(clock, loop.call_later)
        self.history = LastKnown()
        self.broker = Broker(
            self.history,
            secrets.token_hex(EPOCH_BYTES),
            clock=clock,
            monotonic=time.monotonic,
            call_later=loop.call_later,
            before_turn=self.deadlines.enforce,
        )
        self.heartbeat = Heartbeat(settings.heartbeat_seconds, loop.call_later)
        self.admission = Admission(
            max_connections=settings.max_connections,
            max_per_ip=settings.max_connections_per_ip,
            max_per_principal=settings.max_connections_per_principal,
            handshakes_per_second=settings.handshakes_per_second,
            now=time.monotonic(),
        )
        self.origins = OriginPolicy(
            settings.allowed_origins,
            loopback_only=authenticator is None,
            public_url=settings.public_url,
            tls=settings.tls_cert is not None,
        )
        self.proxies = parse_networks(settings.trusted_proxies)
        self.streams: set[Stream] = set()
        self.upstream_state = UpstreamState.DOWN
        self.started_at = time.monotonic()
        self._late_messages = 0
        self._late_quiet_until = 0.0
        self._limits = {
            policy: OutboxLimits(settings.queue_messages, settings.queue_bytes, policy) for policy in Policy
        }

    def outbox_limits(self, policy: Policy) -> OutboxLimits:
        """The bound of one socket's outbox under ``policy``."""
        return self._limits[policy]

    def anonymous(self) -> Principal:
        """Everyone, under AUTH=off."""
        return Principal("anonymous", None, Allowed([EVERYTHING]), (EVERYTHING,), frozenset(self.groups), SCOPES)

    # --- what the handoff brings ------------------------------------------------------------------------

    def publish(self, batch: Sequence[Telemetry]) -> None:
        self.broker.publish(batch)

    def lost(self, counts: Mapping[str, int], others: int) -> None:
        self._late_messages += sum(counts.values()) + others
        if self.monotonic() >= self._late_quiet_until:
            self._late_quiet_until = self.monotonic() + EPISODE_SECONDS
            log.warning("The event loop was late: %d messages were dropped so far, see `gap`", self._late_messages)
        self.broker.lost(counts, others)

    def upstream(self, state: UpstreamState) -> None:
        if state is self.upstream_state:
            return
        self.upstream_state = state
        for stream in list(self.streams):
            stream.tell_upstream(state)
