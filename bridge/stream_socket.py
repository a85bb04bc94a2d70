"""aiohttp's WebSocket with the two things changed that would hurt here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import WSCloseCode, web

from bridge.limits import CHUNK_BYTES, CLOSE_SECONDS, MAX_MESSAGE_BYTES

SUBPROTOCOL: Final = "telemetry-bridge"


class StreamSocket(web.WebSocketResponse):
    """No compression, small buffers, pings answered by the session; and ``close`` cannot hang.

    aiohttp's close() waits for the write buffer to drain outside its own time limit, so a peer that does
    not read would hold it for ever. ``on_close`` is told the code before the Close frame is written, also
    when aiohttp itself closes over a frame that breaks the protocol.
    """

    def __init__(self, on_close: Callable[[int], None]) -> None:
        super().__init__(
            timeout=CLOSE_SECONDS,
            autoping=False,
            compress=False,
            max_msg_size=MAX_MESSAGE_BYTES,
            writer_limit=CHUNK_BYTES,
            protocols=(SUBPROTOCOL,),
        )
        self._on_close: Callable[[int], None] | None = on_close

    def release(self) -> None:
        """Forget the callback: without this the two keep each other alive until the collector runs."""
        self._on_close = None

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close handshake in CLOSE_SECONDS at most. False when it was begun before."""
        if not self.closed and self._on_close is not None:
            self._on_close(code)
        return await super().close(code=code, message=message, drain=False)
