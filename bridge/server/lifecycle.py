"""Listeners opened, and drained: every stream gets its Close frame, and nothing keeps the process from ending."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bridge.core.limits import CLOSE_SECONDS, LISTEN_BACKLOG
from bridge.ingest.handoff import Handoff
from bridge.ingest.mqtt import Consumer
from bridge.protocol.closing import CloseReason
from bridge.server.limits import ServerLimits
from bridge.server.listener import FileShortage, SilentConnections
from bridge.stream.service import StreamService

log = logging.getLogger("bridge.server.lifecycle")
http_log = logging.getLogger("bridge.http")
http_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
"""What aiohttp has to say, but for requests that are no HTTP. They are answered with 400 and are their senders'
fault; aiohttp would log an ERROR with a traceback for each, and quote the beginning of the URL."""

ACCEPTS_PER_TURN: Final = 16
"""Connections that asyncio accepts in one turn of its loop: it takes its ``backlog`` for that too; uvloop does not.

Without a free file each of them fails and makes a retry that accepts as many again (python/cpython#151615; to go with
the last Python that has it): 16 stay 16 a second, hundreds multiply until the processor has no time for anything else.
"""
_LOOK_SECONDS: Final = 0.05
_RESERVE_SECONDS: Final = 1.0
"""Of the time for draining, what is kept for aborting the rest and cleaning up; half of it when it is short."""

Listeners = list[asyncio.Server]


async def open_listeners(
    stack: AsyncExitStack,
    app: web.Application,
    sockets: Iterable[socket.socket],
    tls: ssl.SSLContext | None,
    limits: ServerLimits,
) -> Listeners:
    """Serve ``app`` on bound ``sockets`` until ``stack`` unwinds. ``app`` must not have been started."""
    loop = asyncio.get_running_loop()
    # aiohttp's own access log prints the query string, and with it every ?token=.
    runner = web.AppRunner(
        app,
        logger=http_log,
        access_log=None,
        keepalive_timeout=limits.keepalive_seconds,
        shutdown_timeout=CLOSE_SECONDS,
        auto_decompress=False,  # 200 KB of gzip would hold the loop for a second, whatever the path
    )
    shortage = FileShortage(time.monotonic, limits.few_files)
    if loop.get_exception_handler() is None:
        loop.set_exception_handler(shortage.handle)
        stack.callback(loop.set_exception_handler, None)
    silent = SilentConnections(shortage, limits, clock=time.monotonic, call_later=loop.call_later)
    app.middlewares.append(silent.heard)
    app.on_response_prepare.append(_keep_nothing)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None  # made by setup()
    make_protocol = partial(silent.protocol, runner.server)
    options: dict[str, Any] = {}
    if tls:
        options = {"ssl": tls, "ssl_handshake_timeout": limits.request_head_seconds}
        options["ssl_shutdown_timeout"] = CLOSE_SECONDS  # half a minute otherwise, for a client that does not answer
    listeners = []
    for sock in sockets:
        server = await loop.create_server(make_protocol, sock=sock, backlog=ACCEPTS_PER_TURN, **options)
        sock.listen(LISTEN_BACKLOG)
        stack.callback(server.close)
        listeners.append(server)
    return listeners


async def _keep_nothing(_request: web.Request, response: web.StreamResponse) -> None:
    """No cache may keep an answer that does not allow it, refusals by aiohttp itself included."""
    response.headers.setdefault("Cache-Control", "no-store")


async def drain(
    streaming: StreamService,
    consumer: Consumer,
    handoff: Handoff,
    listeners: Iterable[asyncio.Server],
    drain_seconds: float,
) -> None:
    """Unready at once; no new connections; the consumer ends; 1001 to all together; then abort the rest.

    Takes ``drain_seconds`` at most, whatever a client does.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + drain_seconds - min(_RESERVE_SECONDS, drain_seconds / 2)
    streams = streaming.streams
    streaming.admission.draining = True
    for server in listeners:
        server.close()
    await loop.run_in_executor(None, consumer.stop)
    handoff.close()
    log.info("Draining: closing %d streams", len(streams))
    streams.close(CloseReason.DRAINING)
    while streams and loop.time() < deadline:  # noqa: ASYNC110 - the end of 10,000 streams is no single event
        await asyncio.sleep(_LOOK_SECONDS)
    streams.abort()
    await asyncio.sleep(0)


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Give the ports back. Harmless for a socket that is closed."""
    for sock in sockets:
        sock.close()
