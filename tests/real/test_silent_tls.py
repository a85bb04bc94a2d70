"""TLS connections that never ask for anything, in every stage."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import uvloop
from aiohttp import web

from bridge.server.lifecycle import close_all, open_listeners
from bridge.server.limits import ServerLimits
from bridge.server.listener import bind, tls_context
from tests.mosquitto import Credentials

HEAD_SECONDS = 0.5
GONE_SECONDS = 30.0
"""For the end of a silent connection, which would not come by itself; twice ``HEAD_SECONDS`` on an idle machine."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("stage", ["no handshake", "late handshake", "handshake"])
def test_silent_tls_connection_is_cut(
    credentials: Credentials, stage: str, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Before, during and after the handshake: none of them holds a file for ever, and one that asks is answered."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(play(credentials, stage))


async def play(credentials: Credentials, stage: str) -> None:
    """One silent client and one that asks."""
    certificate, key = (credentials.folder / f"server.{kind}" for kind in ("crt", "key"))
    trusting = ssl.create_default_context(cafile=credentials.ca_file)
    async with AsyncExitStack() as stack:
        sockets = bind("127.0.0.1", 0, "BRIDGE_PORT")
        stack.callback(close_all, sockets)
        port = sockets[0].getsockname()[1]
        app = web.Application()
        app.add_routes([web.get("/", hello)])
        limits = ServerLimits(request_head_seconds=HEAD_SECONDS)
        await open_listeners(stack, app, sockets, tls_context(certificate, key), limits)
        reader, writer = await in_time(lambda: be_silent(port, trusting, stage))
        _, asked = await in_time(lambda: ask(port, trusting))
        try:
            left = await asyncio.wait_for(reader.read(), GONE_SECONDS)
        except ConnectionError:
            left = b""
        assert left == b""
        for each in (writer, asked):
            each.transport.abort()


async def in_time(connect: Callable[[], Awaitable[Streams]]) -> Streams:
    """Its connection; made once more where it was cut, since a client that is held up misses the time for the head."""
    async with asyncio.timeout(GONE_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                return await connect()


async def be_silent(port: int, trusting: ssl.SSLContext, stage: str) -> Streams:
    """A connection that does no more than it must for this stage."""
    tls = None if stage != "handshake" else trusting
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=tls and "localhost")
    if stage == "late handshake":
        await asyncio.sleep(HEAD_SECONDS / 2)  # the time for the head must not have begun meanwhile and be lost
        try:
            await writer.start_tls(trusting, server_hostname="localhost")
        except OSError:
            writer.transport.abort()
            raise
    return reader, writer


async def ask(port: int, trusting: ssl.SSLContext) -> Streams:
    """A connection that asked for something and was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    if not (line := await reader.readline()):
        writer.transport.abort()
        raise ConnectionResetError
    assert line.startswith(b"HTTP/1.1 200")
    return reader, writer


async def hello(_request: web.Request) -> web.Response:
    """Something to ask for."""
    return web.Response(text="hello")
