"""Listening sockets, and the connections that never say what they want."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from bridge.errors import StartError
from bridge.limits import NOTSENT_LOWAT_BYTES, REQUEST_HEAD_SECONDS, WRITE_SECONDS

_SWEEP_SECONDS: Final = 1.0
MAX_SILENT: Final = 4096
"""Connections without a complete request head; the oldest makes room for the next."""


def bind(host: str, port: int, setting: str) -> list[socket.socket]:
    """Sockets bound to every address of ``host``. StartError, one line, when that cannot be done."""
    sockets: list[socket.socket] = []
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _tune(sock)
            sock.bind((address[0], sockets[0].getsockname()[1], *address[2:]) if len(sockets) > 1 else address)
            sock.setblocking(False)
    except OSError as error:
        for sock in sockets:
            sock.close()
        reasons = {
            errno.EADDRINUSE: f"port {port} is in use; stop what uses it or set {setting} to another one",
            errno.EACCES: f"port {port} needs privileges; set {setting} to one above 1023",
        }
        raise StartError(f"Cannot listen on {host}: {reasons.get(error.errno or 0, error.strerror or error)}") from None
    return sockets


def _tune(sock: socket.socket) -> None:
    """Options that every accepted socket inherits (tcp(7)); each one only where the system has it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_NOTSENT_LOWAT", NOTSENT_LOWAT_BYTES), ("TCP_USER_TIMEOUT", int(WRITE_SECONDS * 1000))):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """StartError when the files cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"BRIDGE_TLS_CERT and BRIDGE_TLS_KEY cannot be used: {error}") from None
    return context


class SilentConnections:
    """Connections that have not sent a complete request head: aborted after REQUEST_HEAD_SECONDS.

    aiohttp waits for the first head without limit, so a thousand idle connections would cost a thousand
    files for ever (Slowloris).
    """

    def __init__(self, server: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._since: dict[Any, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.aborted = 0

    def protocol(self) -> Any:
        """The protocol for one more connection: what ``create_server`` calls."""
        protocol = self._server()
        self._since[protocol] = self._loop.time()
        if len(self._since) > MAX_SILENT:
            self._abort(next(iter(self._since)))
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        return protocol

    async def heard(self, request: web.BaseRequest, _response: web.StreamResponse) -> None:
        """An ``on_response_prepare`` signal: this one has asked for something."""
        self._since.pop(request.protocol, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        too_old = self._loop.time() - REQUEST_HEAD_SECONDS
        for protocol, since in list(self._since.items()):
            if since > too_old:
                break
            self._abort(protocol)
        self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep) if self._since else None

    def _abort(self, protocol: Any) -> None:
        del self._since[protocol]
        if protocol.transport is not None:
            self.aborted += 1
            protocol.transport.abort()
