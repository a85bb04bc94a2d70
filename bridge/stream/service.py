"""The streams of one process, put together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from aiohttp import web

from bridge.access.admission import Admission
from bridge.access.authenticator import Authenticator
from bridge.access.client_address import parse_networks
from bridge.access.origins import OriginPolicy
from bridge.access.settings import AccessSettings
from bridge.core.device_ids import Groups
from bridge.core.timeouts import Timeouts
from bridge.fanout.broker import Broker
from bridge.fanout.history import LastKnown
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.rendering import PayloadRenderer
from bridge.stream.deadlines import Deadlines
from bridge.stream.endpoints import Doorway, Endpoints
from bridge.stream.heartbeat import Heartbeat
from bridge.stream.limits import StreamLimits
from bridge.stream.registry import Intake, Streams
from bridge.stream.settings import StreamSettings
from bridge.stream.surroundings import Surroundings
from bridge.stream.watcher import Watching

EPOCH_BYTES: Final = 3
"""Random bytes that tell one run of the process from another in message ids: ``k3f9-15234``."""


class StreamService:
    """Every part by its name, for those who put the program together. Must be made on the running loop.

    Nothing here decides anything: each part was given what it needs.
    """

    def __init__(
        self,
        access: AccessSettings,
        settings: StreamSettings,
        *,
        authenticator: Authenticator | None,
        groups: Groups,
        public_url: str,
        tls: bool,
        limits: StreamLimits,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """``authenticator`` None means AUTH=off: everyone may see everything."""
        self.clock = clock
        self.monotonic = monotonic
        self.call_later = call_later = asyncio.get_running_loop().call_later
        self.started_at = monotonic()
        self.streams = Streams()
        self.deadlines = Deadlines(clock, call_later, limits.recheck_seconds)
        self.history = LastKnown()
        self.broker = Broker(
            self.history,
            clock=clock,
            monotonic=monotonic,
            call_soon=asyncio.get_running_loop().call_soon,
            before_turn=self.deadlines.enforce,
        )
        self.intake = Intake(self.broker, self.streams, monotonic)
        self.admission = Admission(
            max_connections=access.max_connections,
            max_per_ip=access.max_connections_per_ip,
            max_per_principal=access.max_connections_per_principal,
            handshakes_per_second=access.handshakes_per_second,
            now=monotonic(),
        )
        self.origins = OriginPolicy(
            access.allowed_origins, loopback_only=authenticator is None, public_url=public_url, tls=tls
        )
        self.watching = Watching(
            broker=self.broker,
            renderer=PayloadRenderer(secrets.token_hex(EPOCH_BYTES)),
            authenticator=authenticator,
            admission=self.admission,
            groups=groups,
            clock=clock,
            settings=settings,
        )
        self.heartbeat = Heartbeat(
            settings.heartbeat_seconds,
            call_later,
            pong_seconds=limits.pong_seconds,
            tick_seconds=limits.pulse_tick_seconds,
        )
        around = Surroundings(
            broker=self.broker,
            streams=self.streams,
            deadlines=self.deadlines,
            heartbeat=self.heartbeat,
            heartbeat_seconds=settings.heartbeat_seconds,
            outbox_limits={
                policy: OutboxLimits(settings.queue_messages, settings.queue_bytes, policy) for policy in Policy
            },
            limits=limits,
            unauthenticated=Timeouts(
                limits.authenticate_seconds,
                lambda stream: stream.not_authenticated(),
                monotonic=monotonic,
                call_later=call_later,
            ),
            stalled=Timeouts(
                limits.write_seconds, lambda stream: stream.stalled(), monotonic=monotonic, call_later=call_later
            ),
            clock=clock,
            monotonic=monotonic,
            call_later=call_later,
            released=self.admission.release,
        )
        self.doorway = Doorway(
            around, self.admission, self.origins, parse_networks(access.trusted_proxies), Policy(settings.overflow)
        )

    def routes(self) -> list[web.RouteDef]:
        """The two endpoints of fleet watchers."""
        return Endpoints(self.doorway, self.watching).routes()
