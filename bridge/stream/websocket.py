"""aiohttp's WebSocket with the things changed that would hurt here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final

from aiohttp import WSCloseCode, web
from aiohttp.abc import AbstractStreamWriter

from bridge.core.limits import CHUNK_BYTES, MAX_MESSAGE_BYTES

SUBPROTOCOL: Final = "telemetry-bridge"
BROKEN_FRAME_CODES: Final = frozenset(
    {WSCloseCode.PROTOCOL_ERROR, WSCloseCode.INVALID_TEXT, WSCloseCode.MESSAGE_TOO_BIG}
)
"""With these aiohttp closes on its own, over a frame that it cannot take."""
LINGER_SECONDS: Final = 0.5
"""From our Close frame over a broken frame to the end of our sending side: time for the peer's own Close frame,
which some libraries (aiohttp's client) no longer write to a connection that is half closed."""
_LOOK_SECONDS: Final = 0.02
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def cut(transport: asyncio.Transport) -> None:
    """Abort a connection. What the kernel has not sent yet is thrown away."""
    # Without this the kernel goes on sending for as long as the peer lets it wait (socket(7), SO_LINGER).
    with contextlib.suppress(OSError, ValueError):  # closed already
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class StreamSocket(web.WebSocketResponse):
    """The receiving half of a stream. No compression; pings and closing are the session's.

    ``on_broken`` is told the close code when a frame breaks the protocol; it writes the last words and
    sees to it that the transport is closed in the end.
    """

    def __init__(self, on_broken: Callable[[int], None]) -> None:
        super().__init__(
            autoping=False,
            autoclose=False,
            compress=False,
            max_msg_size=MAX_MESSAGE_BYTES + 1,  # aiohttp refuses what is as long as its limit
            writer_limit=CHUNK_BYTES,
            protocols=(SUBPROTOCOL,),
        )
        self._on_broken: Callable[[int], None] | None = on_broken
        self._transport: asyncio.Transport | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """The upgrade. HTTPBadRequest when the request is no proper one."""
        writer = await super().prepare(request)
        self._transport = request.transport
        return writer

    def release(self) -> None:
        """Forget the callback: without this the two keep each other alive until the collector runs."""
        self._on_broken = self._transport = None

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """What aiohttp calls over a broken frame, at the end of the connection and of the handler.

        Only the first is news. The peer may still be sending then, and if the connection were closed at
        once the kernel would answer that with a reset, and the peer lose the words that say why. So what
        comes is thrown away (aiohttp does, after an error) until the peer has ended too; after
        LINGER_SECONDS our sending side is closed, which tells it to.
        """
        transport = self._transport
        if code not in BROKEN_FRAME_CODES or self._on_broken is None or transport is None:
            return False
        self._on_broken(code)
        loop = asyncio.get_running_loop()
        half_close_deadline = loop.time() + LINGER_SECONDS
        half_closed = not transport.can_write_eof()  # TLS has no such thing
        while not transport.is_closing():
            if not half_closed and loop.time() > half_close_deadline:
                half_closed = True
                transport.write_eof()
            await asyncio.sleep(_LOOK_SECONDS)
        return True
