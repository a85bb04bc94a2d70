"""A server that echoes, of nothing but the parts under every stream: the upgrade and the WebSocket, behind aiohttp."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from types import TracebackType
from typing import Self

from aiohttp import web

from bridge.protocol.receiving import Event, Opcode, ProtocolError
from bridge.stream.limits import StreamLimits
from bridge.stream.upgrade import check_upgrade, take_over
from bridge.stream.websocket import WebSocket
from tests.autobahn import NO_CODE, ClientFrame


class Echo:
    """The owner of one socket: sends every message and ping back, and answers a Close frame or a fault with one."""

    def __init__(self, transport: asyncio.Transport, limits: StreamLimits) -> None:
        self.told: list[str] = []
        """What it was called for beside messages, in order."""
        self.socket = WebSocket(transport, self, limits, time.monotonic, asyncio.get_running_loop().call_later)

    def received(self, event: Event) -> None:
        if event.opcode is Opcode.CLOSE and event.code == NO_CODE:
            self.socket.write(_frame(Opcode.CLOSE))
        elif event.opcode is Opcode.CLOSE:
            self.socket.close(event.code, event.text)
        elif event.opcode is not Opcode.PONG:
            self.socket.write(_frame(Opcode.PONG if event.opcode is Opcode.PING else event.opcode, event.payload))

    def broken(self, error: ProtocolError) -> None:
        self.socket.close(error.code, str(error))

    def flooded(self) -> None:
        self.told.append("flooded")
        self.socket.close(1008, "too much data")

    def paused(self) -> None:
        self.told.append("paused")

    def resumed(self) -> None:
        self.told.append("resumed")

    def gone(self) -> None:
        self.told.append("gone")


def _frame(opcode: int, payload: bytes = b"") -> bytes:
    return ClientFrame(opcode, payload, masked=False).encode()


class EchoServer:
    """Serves ``/`` on a loopback port. As a context manager it starts, and cuts what is left."""

    def __init__(self, limits: StreamLimits, tls: ssl.SSLContext | None = None) -> None:
        self.echoes: list[Echo] = []
        """Every stream that has begun."""
        self._limits = limits
        self.tls = tls

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        head = check_upgrade(request)
        assert request.transport is not None
        echo = Echo(request.transport, self._limits)
        self.echoes.append(echo)
        take_over(request, echo.socket)
        echo.socket.write(head)
        raise asyncio.CancelledError

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/", self._handle), web.get("/large", self._large)])
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        sock = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port: int = sock.getsockname()[1]
        await web.SockSite(self.runner, sock, ssl_context=self.tls).start()
        return self

    async def _large(self, _request: web.Request) -> web.Response:
        return web.Response(body=bytes(8 * 1024))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.runner.cleanup()
        for echo in self.echoes:
            echo.socket.abort()
        await asyncio.sleep(0)
