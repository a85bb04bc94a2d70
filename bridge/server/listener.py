"""Listening sockets, the connections that never say what they want, and the files that run out."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from aiohttp import web

from bridge.core.errors import StartError
from bridge.core.limits import NOTSENT_LOWAT_BYTES, REQUEST_HEAD_SECONDS, WRITE_SECONDS

log = logging.getLogger("bridge.server.listener")

_SWEEP_SECONDS: Final = 1.0
MAX_SILENT: Final = 4096
"""Connections without a complete request head; the oldest makes room for the next. A TLS handshake is not counted:
it has a time-out of its own, and the limit of open files."""
FILES_RESERVE: Final = 128
"""Files beside the sockets of streams: listeners, log, MQTT, the loop's own, and requests that are no stream."""
FEW_FILES: Final = 16
"""So few files left are told: accept() fails next."""
SHORTAGE_SECONDS: Final = 60.0
"""Between two lines about the same shortage."""


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
                # Whatever the host's default is (net.ipv6.bindv6only): :: means IPv4 too, any other address itself.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
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


def raise_file_limit(max_connections: int) -> None:
    """Let this process open as many files as the host allows it, and warn when streams need more of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS has a second, lower limit
            log.info("The limit of open files stays at %d: %s", soft, error)
    if soft != resource.RLIM_INFINITY and soft < max_connections + FILES_RESERVE:
        log.warning(
            "This process may open %d files, BRIDGE_MAX_CONNECTIONS=%d needs %d: raise the limit "
            "(ulimit -n, LimitNOFILE=, nofile) or lower the setting",
            soft, max_connections, max_connections + FILES_RESERVE,
        )  # fmt: skip


class FileShortage:
    """Tells that files run out: one line a minute, however many connections cannot be accepted.

    asyncio says so with a traceback a second; uvloop takes such connections and drops them without a
    word (libuv keeps one file for that), so the shortage is seen by the number of an accepted socket:
    the kernel always gives the lowest that is free.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` is monotonic."""
        self._clock = clock
        self._quiet_until = float("-inf")

    def accepted(self, descriptor: int) -> None:
        """A connection was accepted with this descriptor."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != resource.RLIM_INFINITY and descriptor >= limit - FEW_FILES:
            self._tell(limit)

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception handler of the loop: a shortage is told here, all else by the loop's own handler."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            self._tell(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        else:
            loop.default_exception_handler(context)

    def _tell(self, limit: int) -> None:
        if self._clock() >= self._quiet_until:
            self._quiet_until = self._clock() + SHORTAGE_SECONDS
            log.warning(
                "Hardly any of the %d files that this process may open is left: new connections fail. Raise the limit "
                "(ulimit -n, LimitNOFILE=, nofile) or lower BRIDGE_MAX_CONNECTIONS",
                limit,
            )


class _Opening(asyncio.Protocol):
    """The protocol of a connection until it stands; with TLS that is after the handshake."""

    def __init__(self, opened: Callable[[asyncio.Transport], None]) -> None:
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened(cast(asyncio.Transport, transport))


class SilentConnections:
    """Connections that have not sent a complete request head: aborted after REQUEST_HEAD_SECONDS.

    aiohttp waits for the first head without limit, so a thousand idle connections would cost a thousand
    files for ever (Slowloris). The time begins when the connection stands: a protocol has no transport
    during the TLS handshake, so there would be nothing to abort.
    """

    def __init__(
        self, server: Callable[[], Any], loop: asyncio.AbstractEventLoop, accepted: Callable[[int], None]
    ) -> None:
        """``server`` makes an HTTP protocol; ``accepted`` is told the descriptor of each connection."""
        self._server = server
        self._loop = loop
        self._accepted = accepted
        self._since: dict[Any, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.aborted = 0

    def protocol(self) -> asyncio.Protocol:
        """The protocol for one more connection: what ``create_server`` calls."""
        return _Opening(self._opened)

    def _opened(self, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._accepted(sock.fileno())
        protocol = self._server()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self._since[protocol] = self._loop.time()
        if len(self._since) > MAX_SILENT:
            self._abort(next(iter(self._since)))
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

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
        if protocol.transport is not None:  # None: it has gone by itself
            self.aborted += 1
            protocol.transport.abort()
