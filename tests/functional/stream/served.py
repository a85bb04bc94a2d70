"""A server inside the test's own loop: real sockets, no MQTT broker, telemetry put in by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import Mock

from aiohttp import web

from bridge.access.authenticator import mint
from bridge.access.paseto import KeyRing, generate_key
from bridge.app import Limits, stream_service_of
from bridge.core.telemetry import Fix, Telemetry, UpstreamState
from bridge.ingest.handoff import Handoff
from bridge.ingest.mqtt import ConsumerStatistics
from bridge.server.lifecycle import Listeners, close_all, drain, open_listeners
from bridge.server.listener import bind
from bridge.server.operations import Operations
from bridge.settings import load_settings
from bridge.stream.limits import StreamLimits
from tests.functional.stream.clients import Client
from tests.functional.stream.raw import RawClient

KEY = generate_key()
RING = KeyRing([KEY])
PATIENCE_SECONDS = 15.0
"""Far above what any wait needs on an idle machine; reached only when the test fails."""
POLL_SECONDS = 0.005
SECRETS: set[str] = {KEY}
"""Every key and token that a test has used: none may reach the log."""


class Clock:
    """Time that a test can move, wall-clock by default; it goes on by itself like the real one, until it is stopped."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self.ahead = 0.0
        self._source = source
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        return (self._source() if self._stopped_at is None else self._stopped_at) + self.ahead

    def advance(self, seconds: float) -> None:
        """Set the clock, forward or back."""
        self.ahead += seconds

    def stop(self) -> None:
        """From now on it goes only when a test moves it: no token runs out because the machine is slow."""
        self._stopped_at = self._source()


class Lateness:
    """How late the loop itself was, in seconds since ``begin``: what a busy machine adds to any time that is measured.

    As a context manager it looks from ``begin`` (monotonic, now or soon) on.
    """

    STEP_SECONDS = 0.02

    def __init__(self, begin: float) -> None:
        self._due = begin
        self._late = 0.0

    @property
    def seconds(self) -> float:
        """What has added up, the look that is overdue included."""
        return self._late + max(time.monotonic() - self._due, 0.0)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._due - time.monotonic())
            now = time.monotonic()
            self._late += max(now - self._due, 0.0)
            self._due = now + self.STEP_SECONDS

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def eventually(condition: Callable[[], object], what: object = "", seconds: float = PATIENCE_SECONDS) -> None:
    """Let the loop run until the condition holds; fail, saying ``what``, when it does not come to."""
    deadline = time.monotonic() + seconds
    while not condition():
        shown = what() if callable(what) else what
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {shown}"
        await asyncio.sleep(POLL_SECONDS)


def open_sockets() -> int:
    """How many sockets this process has open, both ends of a connection counted."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            count += str(entry.readlink()).startswith("socket:")
    return count


def written(groups: str) -> Path:
    """A groups file with this text, in the test's own folder."""
    path = Path("groups.toml")
    path.write_text(groups)
    return path


def position(device_id: str, number: int = 0, *, retained: bool = False, pad: int = 0) -> Telemetry:
    """A position whose payload holds ``number`` and ``pad`` bytes of filling."""
    payload = json.dumps({"n": number, "lat": 1.5, "lon": -70.25, "pad": "x" * pad}).encode()
    return Telemetry(device_id, payload, retained, Fix(1.5, -70.25))


def happening(device_id: str, number: int = 0, pad: int = 0) -> Telemetry:
    """A message that is no position: every one counts."""
    return Telemetry(device_id, json.dumps({"n": number, "pad": "x" * pad}).encode())


def stream_limits(**limits: Any) -> Limits:
    """The limits of a server, with these of its streams (``StreamLimits``)."""
    return Limits(stream=StreamLimits(**limits))


class Bridge:
    """The server, its clients and its clock. As a context manager it starts, and leaves nothing behind."""

    def __init__(
        self,
        clock: Clock | None = None,
        limits: Limits = Limits(),
        monotonic: Callable[[], float] = time.monotonic,
        send_buffer_bytes: int | None = None,
        **settings: Any,
    ) -> None:
        self.limits = limits
        self.monotonic = monotonic
        self._send_buffer_bytes = send_buffer_bytes
        self.clock = clock or Clock()
        self.settings = load_settings(**({"port": 0, "access_keys": KEY} | settings))
        self.consumer = Mock(spec_set=["stop"])
        self.consumer_statistics = ConsumerStatistics(True, True, True, 0.0, 0, 1, {}, "subscribed")
        self._clients: list[Client | RawClient] = []
        self._listeners: Listeners = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._sockets, self._tasks = open_sockets(), asyncio.all_tasks()
        self.streaming = stream_service_of(
            self.settings, self.limits.stream, clock=self.clock, monotonic=self.monotonic
        )
        self.handoff = Handoff(asyncio.get_running_loop())
        self.handoff.open(self.streaming.intake)
        self.streaming.intake.upstream(UpstreamState.UP)
        sockets = bind(self.settings.host, 0, "BRIDGE_PORT")
        self._stack.callback(close_all, sockets)
        if self._send_buffer_bytes is not None:  # what the kernel takes would hide what the test is after
            sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
        self.port: int = sockets[0].getsockname()[1]
        app = web.Application()
        app.add_routes(self.streaming.routes())
        operations = Operations(self.streaming, lambda: self.consumer_statistics, self.handoff.statistics, int)
        app.add_routes(operations.routes())
        await self.furnish(app)
        self._listeners = await open_listeners(self._stack, app, sockets, None, self.limits.server)
        return self

    async def furnish(self, app: web.Application) -> None:
        """Add to the server what a test of another part needs."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.leave_all()
            if kind is None:
                await self.wait_empty()
        finally:
            self.streaming.admission.draining = True
            await self._stack.aclose()
        if kind is None:
            await eventually(lambda: not self.strays(), self.strays)
            await eventually(lambda: open_sockets() <= self._sockets, lambda: (open_sockets(), self._sockets))

    async def leave_all(self) -> None:
        """Every client goes."""
        for client in self._clients:
            await client.leave()

    def strays(self) -> list[object]:
        """What runs now and did not before the start, but for the test itself."""
        return [task.get_coro() for task in asyncio.all_tasks() - self._tasks - {asyncio.current_task()}]

    async def wait_empty(self) -> None:
        """The invariants: when every socket has ended nothing remembers one."""
        await eventually(lambda: not self.remains(), self.remains)

    def remains(self) -> dict[str, object]:
        """What the server still holds for streams; empty when there are none."""
        streaming, broker = self.streaming, self.streaming.broker.statistics()
        held: dict[str, object] = {
            "streams": len(streaming.streams),
            "admission": streaming.admission.held(),
            "deadlines": len(streaming.deadlines),
            "heartbeats": len(streaming.heartbeat),
            "cohorts": broker.cohorts,
            "selectors": broker.selectors,
            "subscriptions": broker.subscriptions,
            "behind": broker.behind,
        }
        return {name: value for name, value in held.items() if value}

    async def drain(self, seconds: float) -> None:
        """SIGTERM's part: everything goes, within ``seconds``."""
        await drain(self.streaming, self.consumer, self.handoff, self._listeners, seconds)

    # --- what goes in ---------------------------------------------------------------------------------

    def publish(self, *messages: Telemetry) -> None:
        """One turn of fan-out."""
        self.streaming.intake.publish(messages)

    def token(
        self,
        *devices: str,
        subject: str = "tester",
        groups: Iterable[str] = (),
        scopes: Iterable[str] = ("stream",),
        ttl: float = 3600.0,
        since: float = 0.0,
    ) -> str:
        """A token for these devices (``A`` when none is named), from ``since`` seconds after now for ``ttl``."""
        named: Sequence[str] = devices or (() if groups else ("A",))
        made = mint(
            RING, subject=subject, devices=named, groups=groups, scopes=scopes, ttl=ttl, now=self.clock() + since
        )
        SECRETS.add(made)
        return made

    # --- who comes --------------------------------------------------------------------------------------

    def url(self, path: str, scheme: str = "http") -> str:
        """The address of ``path`` on this server."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def connect(self, path: str, token: str | None = None, **options: Any) -> Client:
        """A WebSocket client of aiohttp's, with ``token`` in the Authorization header."""
        client = Client(self.url(path))
        self._clients.append(client)
        await client.open(token, **options)
        return client

    async def watch(self, device_ids: str = "A", token: str | None = None, extra: str = "") -> Client:
        """A client on ``/stream`` that has been welcomed. By default its token allows just what it asks for."""
        token = token or self.token(*device_ids.split(","))
        client = await self.connect(f"/api/v1/stream?device_ids={device_ids}{extra}", token)
        await client.expect("hello")
        await client.expect("subscribed")
        return client

    async def join(self, token: str | None = None) -> Client:
        """A client on ``/ws`` that has said hello."""
        client = await self.connect("/api/v1/ws", token or self.token())
        await client.expect("hello")
        return client

    async def raw(self, receive_bytes: int | None = None) -> RawClient:
        """A plain TCP connection. ``receive_bytes`` makes the kernel's buffer for what is not read small."""
        client = RawClient(self.port)
        self._clients.append(client)
        await client.connect(receive_bytes)
        return client

    async def stalled(self, device_ids: str = "A", token: str | None = None, extra: str = "") -> RawClient:
        """A client that has subscribed and does not read a byte after the upgrade."""
        client = await self.raw(receive_bytes=2048)
        token = token or self.token(*device_ids.split(","))
        await client.upgrade(f"/api/v1/stream?device_ids={device_ids}{extra}", token)
        return client
