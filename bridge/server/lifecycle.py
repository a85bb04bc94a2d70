"""Opening the listening sockets to the world, and closing them so that nobody is left hanging."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bridge.core.limits import CLOSE_SECONDS, LISTEN_BACKLOG, REQUEST_HEAD_SECONDS
from bridge.ingest.handoff import Handoff
from bridge.ingest.mqtt import Consumer
from bridge.protocol.closing import CloseReason
from bridge.server.listener import FileShortage, SilentConnections
from bridge.stream.hub import Hub

log = logging.getLogger("bridge.server.lifecycle")
http_log = logging.getLogger("bridge.http")
http_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
"""What aiohttp has to say, but for requests that are no HTTP. They are answered with 400 and are their senders'
fault; aiohttp would log an ERROR with a traceback for each, and quote the beginning of the URL."""

KEEPALIVE_SECONDS: Final = 15.0
"""How long an HTTP connection may wait for its next request; aiohttp's 75 s holds files for nothing."""
ACCEPTS_PER_TURN: Final = 16
"""Connections that asyncio accepts in one turn of its loop: it takes its ``backlog`` for that too; uvloop does not.

Without a free file each of them fails and makes a retry that accepts as many again (python/cpython#151615; to go with
the last Python that has it): 16 stay 16 a second, hundreds multiply until the processor has no time for anything else.
"""
_LOOK_SECONDS: Final = 0.05
_RESERVE_SECONDS: Final = 1.0
"""Of the time for draining, what is kept for aborting the rest and cleaning up; half of it when it is short."""

Door = list[asyncio.Server]


async def open_door(
    stack: AsyncExitStack, app: web.Application, sockets: Iterable[socket.socket], tls: ssl.SSLContext | None
) -> Door:
    """Serve ``app`` on bound ``sockets`` until ``stack`` unwinds."""
    loop = asyncio.get_running_loop()
    # aiohttp's own access log prints the query string, and with it every ?token=.
    runner = web.AppRunner(
        app,
        logger=http_log,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=CLOSE_SECONDS,
        auto_decompress=False,  # 200 KB of gzip would hold the loop for a second, whatever the path
    )
    shortage = FileShortage(loop.time)
    if loop.get_exception_handler() is None:
        loop.set_exception_handler(shortage.handle)
        stack.callback(loop.set_exception_handler, None)
    silent = SilentConnections(lambda: _protocol(runner), loop, shortage.accepted)
    app.on_response_prepare.append(silent.heard)
    app.on_response_prepare.append(_keep_nothing)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    stack.callback(silent.close)
    options: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": REQUEST_HEAD_SECONDS} if tls else {}
    door = []
    for sock in sockets:
        server = await loop.create_server(silent.protocol, sock=sock, backlog=ACCEPTS_PER_TURN, **options)
        sock.listen(LISTEN_BACKLOG)
        stack.callback(server.close)
        door.append(server)
    return door


async def _keep_nothing(_request: web.Request, response: web.StreamResponse) -> None:
    """No answer is for a cache unless it says so, refusals by aiohttp itself included."""
    response.headers.setdefault("Cache-Control", "no-store")


def _protocol(runner: web.AppRunner) -> asyncio.Protocol:
    assert runner.server is not None
    return runner.server()


async def drain(hub: Hub, consumer: Consumer, handoff: Handoff, doors: Sequence[Door], drain_seconds: float) -> None:
    """Unready at once; no new connections; the consumer ends; 1001 to all together; then abort the rest.

    Takes ``drain_seconds`` at most, whatever a client does.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + drain_seconds - min(_RESERVE_SECONDS, drain_seconds / 2)
    hub.admission.draining = True
    for door in doors:
        for server in door:
            server.close()
    await loop.run_in_executor(None, consumer.stop)
    handoff.close()
    log.info("Draining: %d streams are told to go", len(hub.streams))
    for stream in list(hub.streams):
        stream.close(CloseReason.DRAINING)
    while hub.streams and loop.time() < deadline:  # noqa: ASYNC110 - the end of 10,000 streams is no single event
        await asyncio.sleep(_LOOK_SECONDS)
    for stream in list(hub.streams):
        stream.abort()
    await asyncio.sleep(0)


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Give the ports back. Harmless for a socket that is closed."""
    for sock in sockets:
        sock.close()
