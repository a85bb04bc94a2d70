"""aiohttp's WebSocket and nothing else, to compare with: no token, no queue, no messages.

Not for use. ``python bare.py PORT [CERTIFICATE KEY]``.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

import uvloop
from aiohttp import web

BACKLOG = 4096


async def stream(request: web.Request) -> web.WebSocketResponse:
    """One socket, as the documentation of aiohttp has it."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


async def serve(port: int, context: ssl.SSLContext | None) -> None:
    """Listens; an open port means ready."""
    app = web.Application()
    app.router.add_get("/", stream)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=BACKLOG, ssl_context=context).start()
    await asyncio.Event().wait()


def tls(chain: str, key: str) -> ssl.SSLContext:
    """A server's context with these PEM files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), tls(*sys.argv[2:4]) if len(sys.argv) > 2 else None))
