"""A client with no manners: a plain TCP socket on which any bytes can be sent, and that need not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
WAIT_SECONDS = 15.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
Frame = tuple[int, bytes]


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, reserved: int = 0, length: int = -1
) -> bytes:
    """A client's frame. The mask is zero, so the payload stands in it as it is. ``length`` may lie."""
    size = len(payload) if length < 0 else length
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, mask_bit | size])
    elif size < 65536:
        head = bytes([first, mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, mask_bit | 127]) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


def command(action: str, **data: object) -> bytes:
    """A command as a frame."""
    return frame(TEXT, json.dumps({"action": action, "data": data}).encode())


class RawClient:
    """One TCP connection. ``ended`` says how the server ended it: ``eof`` or ``reset``;
    ``buffer`` holds what was received and not yet taken."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.ended = ""
        self.buffer = bytearray()

    async def connect(self, receive_bytes: int | None = None) -> None:
        """Connect. ``receive_bytes`` is the kernel's buffer for what is not read."""
        if receive_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(self.sock, ("127.0.0.1", self.port))

    async def leave(self) -> None:
        """Gone without a word. Harmless when done before."""
        self.sock.close()

    async def send(self, data: bytes) -> None:
        """Send bytes; ConnectionError when the server has cut the connection."""
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self.sock, data), WAIT_SECONDS)

    async def send_until_cut(self, data: bytes, pause: float) -> None:
        """Send it again and again, ``pause`` seconds between, until the server has cut the connection."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    await self.send(data)
                    await asyncio.sleep(pause)

    async def receive(self, seconds: float = WAIT_SECONDS, most: int = 1 << 16) -> bool:
        """Take what comes next, ``most`` bytes of it, into the buffer; False at the end."""
        try:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, most), seconds)
        except ConnectionError:
            self.ended = "reset"
            return False
        self.buffer += data
        if not data:
            self.ended = "eof"
        return bool(data)

    # --- HTTP ---------------------------------------------------------------------------------------------

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> tuple[int, str]:
        """Send a request, by default a proper upgrade; None takes a header away. Status and head of the answer."""
        fields: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        }
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        await self.send("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body)
        return await self.response()

    async def response(self) -> tuple[int, str]:
        """Status and head of the next answer; what follows stays in the buffer. Status 0 at the end."""
        while b"\r\n\r\n" not in self.buffer:
            if not await self.receive():
                return 0, ""
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        return int(head.split()[1]), head.decode()

    async def upgrade(self, path: str, token: str | None = None) -> None:
        """The opening handshake; AssertionError with the answer when it is refused."""
        authorization = None if token is None else f"Bearer {token}"
        status, head = await self.request("GET", path, Authorization=authorization)
        assert status == 101, head

    async def all_bytes(self) -> bytes:
        """Everything up to the end of the connection."""
        while await self.receive():
            pass
        return bytes(self.buffer)

    # --- frames ---------------------------------------------------------------------------------------------

    async def frame(self, seconds: float = WAIT_SECONDS, most: int = 1 << 16) -> Frame | None:
        """The next frame of the server, read ``most`` bytes at a time; None at the end of the connection."""
        while True:
            taken = self._take()
            if taken is not None:
                return taken
            if not await self.receive(seconds, most):
                return None

    def _take(self) -> Frame | None:
        data = self.buffer
        if len(data) < 2:
            return None
        size, at = data[1], 2
        if size > 125:
            width = 2 if size == 126 else 8
            if len(data) < at + width:
                return None
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        if len(data) < at + size:
            return None
        taken = data[0] & 0x0F, bytes(data[at : at + size])
        del data[: at + size]
        return taken

    async def events_to_end(self) -> tuple[list[dict[str, Any]], int | None]:
        """Read to the end of the connection: the events, and the code of the Close frame if one came."""
        events: list[dict[str, Any]] = []
        code: int | None = None
        while (taken := await self.frame()) is not None:
            opcode, payload = taken
            if opcode == TEXT:
                events.append(json.loads(payload))
            elif opcode == CLOSE:
                assert code is None, "a second Close frame"
                code = int.from_bytes(payload[:2], "big")
        return events, code
