"""Listening sockets, connections that never send a request, and files that run out."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.typedefs import Handler

from bridge.core.errors import StartError
from bridge.core.limits import CLOSE_SECONDS, NOTSENT_LOWAT_BYTES, WRITE_SECONDS
from bridge.core.rates import Episodes
from bridge.core.timeouts import Timeouts
from bridge.core.times import Timer
from bridge.server.limits import ServerLimits

log = logging.getLogger("bridge.server.listener")

FILES_RESERVE: Final = 128
"""Files beside the sockets of streams: listeners, log, MQTT, the loop's own, and requests that are no stream."""


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
    """Options that every accepted socket inherits (tcp(7)); each one only where the system has it.

    Where the kernel gives up it does so without a word; our own limit, which resets the connection, comes first.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_NOTSENT_LOWAT", NOTSENT_LOWAT_BYTES),
        ("TCP_USER_TIMEOUT", int((WRITE_SECONDS + CLOSE_SECONDS) * 1000)),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A server's context with this certificate. StartError when the files cannot be used."""
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
    """Warns that files run out: one line a minute, however many connections cannot be accepted.

    asyncio reports it with a traceback a second; uvloop accepts such connections and drops them without a word (libuv
    keeps one file for that), so the number of an accepted socket shows the shortage: the kernel always gives the
    lowest that is free.
    """

    def __init__(self, clock: Callable[[], float], few_files: int) -> None:
        """``clock`` is monotonic; ``few_files`` as in ``ServerLimits``."""
        self._clock = clock
        self._few_files = few_files
        self._failures = 0
        self._episodes = Episodes()

    def accepted(self, descriptor: int) -> None:
        """Look at the descriptor of a connection that was accepted."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != resource.RLIM_INFINITY and descriptor >= limit - self._few_files:
            self._warn(limit)

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler: warn of a shortage, leave the rest to the loop's default."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            self._warn(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        else:
            loop.default_exception_handler(context)

    def _warn(self, limit: int) -> None:
        self._failures += 1
        if self._episodes.due("files", self._failures, self._clock()):
            log.warning(
                "Almost all of the %d files that this process may open are in use: new connections fail. Raise the "
                "limit (ulimit -n, LimitNOFILE=, nofile) or lower BRIDGE_MAX_CONNECTIONS",
                limit,
            )


class _Opening(asyncio.Protocol):
    """The protocol of a connection until it stands; with TLS that is after the handshake."""

    def __init__(self, opened: Callable[[asyncio.Transport], None]) -> None:
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened(cast(asyncio.Transport, transport))


class SilentConnections:
    """Connections that have not sent a complete request head: aborted after ``request_head_seconds``.

    aiohttp waits for the first head without limit, so a thousand idle connections would cost a thousand files for ever
    (Slowloris). The time begins when the connection stands: a protocol has no transport during the TLS handshake, so
    there would be nothing to abort. It ends when the first request reaches the application, whatever it asks for;
    from then on the connection is forgotten, and so is one whose transport another protocol has taken over.
    """

    def __init__(
        self,
        shortage: FileShortage,
        limits: ServerLimits,
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], object]], Timer],
    ) -> None:
        """``clock`` is monotonic."""
        self._shortage = shortage
        self._most = limits.silent_connections
        self._waiting: Timeouts[Any] = Timeouts(
            limits.request_head_seconds, self._abort, monotonic=clock, call_later=call_later
        )

    def __len__(self) -> int:
        return len(self._waiting)

    def protocol(self, make_http: Callable[[], Any]) -> asyncio.Protocol:
        """The protocol for one more connection: what ``create_server`` calls. ``make_http`` makes aiohttp's for it."""
        return _Opening(lambda transport: self._opened(transport, make_http()))

    def _opened(self, transport: asyncio.Transport, protocol: Any) -> None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._shortage.accepted(sock.fileno())
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self._waiting.add(protocol)
        if len(self._waiting) > self._most:
            oldest = next(iter(self._waiting))
            self._waiting.discard(oldest)
            self._abort(oldest)

    @web.middleware
    def heard(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        """A middleware: the head of this request is complete. It runs before every handler, that of a 404 included.

        Not a coroutine: that would be one more for as long as the handler runs.
        """
        self._waiting.discard(request.protocol)
        return handler(request)

    @staticmethod
    def _abort(protocol: Any) -> None:
        transport = protocol.transport  # None: it has gone by itself
        if transport is not None and transport.get_protocol() is protocol:
            transport.abort()
