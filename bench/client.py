"""The few parts of a WebSocket client that the load generator does not give: blocking, in Python, TLS if wanted."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final

from bench.errors import BenchError

READ_BYTES: Final = 64 * 1024
HEAD_BYTES: Final = 16 * 1024
"""Longest answer to a handshake."""
TEXT: Final = 0x1
CONTINUATION: Final = 0x0
CLOSE: Final = 0x8
PONG: Final = 0xA
MASK: Final = b"\x5a\xa5\x3c\xc3"
"""Not zero, so that the server has to unmask."""
SMALL_BYTES: Final = 126
"""Payloads from here on have an extended length (RFC 6455 section 5.2)."""


class Refused(BenchError):
    """The server answered the handshake with ``status``, not with 101."""

    def __init__(self, status: str, answer: str) -> None:
        super().__init__(f"the handshake was refused: {answer}")
        self.status = status


def unverified() -> ssl.SSLContext:
    """A context for a server on this machine with a certificate that it has made itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def upgrade(sock: socket.socket, path: str, headers: Sequence[str]) -> bytes:
    """Shakes hands on a connected socket; returns what came behind the answer's head.

    The key is the sample of RFC 6455, as in the load generator. Refused carries the server's answer; OSError when the
    server closes the connection instead.
    """
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = sock.recv(READ_BYTES)
        if not data or len(answer) > HEAD_BYTES:
            raise ConnectionError("the server closed the connection during the handshake")
        answer += data
    head, _, after = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        text = head.decode(errors="replace")
        raise Refused(text.partition("\r\n")[0].partition(" ")[2][:3], text[:300])
    return after


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """A frame as a client sends it, or as it must not (``masked`` false); payloads below SMALL_BYTES."""
    if len(payload) >= SMALL_BYTES:
        raise ValueError("long payloads are nothing that this program sends")
    head = bytes([(0x80 if final else 0) | opcode, (0x80 if masked else 0) | len(payload)])
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


class ServerFrames:
    """Takes a server's bytes as they come and gives (opcode, payload) of each whole frame."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that are whole with ``data``."""
        self._data += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size >= SMALL_BYTES:
            start += 2 if size == SMALL_BYTES else 8
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        self._data = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]
