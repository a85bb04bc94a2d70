"""What an operator and a load balancer ask: alive, ready, and counts. Never a device, a token or a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from bridge.ingest.handoff import HandoffStatistics
from bridge.ingest.mqtt import ConsumerStatistics
from bridge.server.http import answer
from bridge.stream.service import StreamService


class Operations:
    """The operator's view of one process. Reads snapshots only, and never waits."""

    def __init__(
        self,
        streaming: StreamService,
        consumer: Callable[[], ConsumerStatistics],
        handoff: Callable[[], HandoffStatistics],
        log_lines_dropped: Callable[[], int],
        shares: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        """``shares`` are the counts of share links, None where there are none."""
        self._streaming = streaming
        self._consumer = consumer
        self._handoff = handoff
        self._log_lines_dropped = log_lines_dropped
        self._shares = shares

    def routes(self) -> list[web.RouteDef]:
        """The three calls."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/api/v1/stream/stats", self.stats),
        ]

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 while the event loop turns."""
        return answer({"status": "alive"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """200 while telemetry can arrive and be served, else 503 with what is wrong."""
        problems = self.problems()
        return answer({"status": "unready" if problems else "ready", "problems": problems}, 503 if problems else 200)

    def problems(self) -> list[str]:
        """Why this process should get no new clients. Empty when it should."""
        consumer = self._consumer()
        problems = []
        if self._streaming.admission.draining:
            problems.append("draining")
        if not consumer.alive:
            problems.append("the consumer thread has ended")
        elif not consumer.ready:
            problems.append(f"MQTT: {consumer.detail}")
        return problems

    async def stats(self, _request: web.Request) -> web.Response:
        """200 with ``counts``."""
        return answer(self.counts())

    def counts(self) -> Mapping[str, Any]:
        """Counts only, for every caller. ``refused`` in ``mqtt`` is by cause: see the README's table."""
        streaming, admission = self._streaming, self._streaming.admission
        consumer, broker = self._consumer(), streaming.broker.statistics()
        return {
            "total_messages_processed": broker.published,
            "active_subscribers": broker.subscriptions,
            "devices_being_monitored": broker.devices,
            "uptime_seconds": round(streaming.monotonic() - streaming.started_at, 1),
            "mqtt": {
                "connected": consumer.connected,
                "subscribed": consumer.subscribed,
                "received": consumer.received,
                "connects": consumer.connects,
                "refused": consumer.refused,
            },
            "broker": asdict(broker),
            "handoff": asdict(self._handoff()),
            "last_known": asdict(streaming.history.statistics()),
            "streams": {
                "open": admission.connections,
                "limit": admission.max_connections,
                "peak": admission.peak,
                "refused": dict(admission.refused),
            },
            **({"shares": self._shares()} if self._shares else {}),
            "log_lines_dropped": self._log_lines_dropped(),
        }
