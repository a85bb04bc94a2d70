"""A server that speaks the bridge's wire format by script, for tests of clients."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Socket = web.WebSocketResponse
Act = Callable[[Socket], Awaitable[object]]


async def hello(socket: Socket, heartbeat_seconds: float = 25.0) -> None:
    """The first frame."""
    await event(socket, "hello", {"protocol": 1, "connection_id": "c1", "heartbeat_seconds": heartbeat_seconds})


async def event(socket: Socket, kind: str, data: object) -> None:
    """Any event."""
    await socket.send_str(json.dumps({"event": kind, "data": data}))


async def telemetry(socket: Socket, device_id: str, payload: object, **extra: Any) -> None:
    """A message of a device."""
    frame = {"event": "message", "id": "x-1", "device_id": device_id, "data": payload, **extra}
    await socket.send_str(json.dumps(frame, ensure_ascii=False))


async def until_closed(socket: Socket) -> None:
    """Read until the client goes."""
    async for _ in socket:
        pass


class FakeBridge:
    """Plays one act per connection; the last one again for all that follow. Use as a context manager."""

    def __init__(self, *acts: Act) -> None:
        self._acts = list(acts)
        self.requests: list[web.BaseRequest] = []
        app = web.Application()
        app.router.add_get("/api/v1/stream", self._stream)
        self._server = TestServer(app)

    @property
    def url(self) -> str:
        """What a user would give as the server's URL."""
        return f"ws://127.0.0.1:{self._server.port}"

    async def __aenter__(self) -> FakeBridge:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        act = self._acts[min(len(self.requests), len(self._acts)) - 1]
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await act(socket)
        return socket
