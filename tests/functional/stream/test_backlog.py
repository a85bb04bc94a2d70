"""Connections that come faster than they are accepted."""

from __future__ import annotations

import socket
import struct
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from bridge.core.limits import LISTEN_BACKLOG
from bridge.server.lifecycle import close_all, open_listeners
from bridge.server.limits import ServerLimits
from bridge.server.listener import bind

SOMAXCONN = int(Path("/proc/sys/net/core/somaxconn").read_text())
SACKED_OFFSET = 28
"""In ``struct tcp_info`` of linux/tcp.h; of a listening socket it is the length of its accept queue."""


async def test_kernel_holds_a_storm_of_connections_for_us() -> None:
    """All that the host allows, on either loop: asyncio gets another number, for another reason."""
    async with AsyncExitStack() as stack:
        (sock,) = sockets = bind("127.0.0.1", 0, "BRIDGE_PORT")
        stack.callback(close_all, sockets)
        await open_listeners(stack, web.Application(), sockets, None, ServerLimits())
        about = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SACKED_OFFSET + 4)
        (length,) = struct.unpack_from("=I", about, SACKED_OFFSET)
        assert length == min(LISTEN_BACKLOG, SOMAXCONN)
