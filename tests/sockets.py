"""WebSocket clients of a few hundred bytes each, so that one test process can hold thousands."""

from __future__ import annotations

import json
import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

READ_BYTES = 1 << 18
CONNECT_SECONDS = 60.0
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
MASK = b"\x00\x00\x00\x00"
"""Every client frame must be masked (RFC 6455 section 5.3); this one leaves the bytes as they are."""


def client_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A frame as a client sends it; payloads up to 64 KiB."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + MASK + payload


class LeanSocket:
    """One WebSocket to ``/api/v1/stream`` or ``/api/v1/ws``: what came is in ``events``, its end in ``close_code``.

    ``receive_bytes`` makes the kernel's buffer for what we do not read small. Bytes are taken by ``read``;
    who never calls it is a reader that does not read.
    """

    def __init__(self, port: int, path: str, token: str | None = None, receive_bytes: int | None = None) -> None:
        """Connect and upgrade; AssertionError with the answer when the server refuses."""
        self.events: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.ended = False
        self._rest = b""
        self.sock = socket.socket()
        try:
            if receive_bytes is not None:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            self.sock.settimeout(CONNECT_SECONDS)
            self.sock.connect(("127.0.0.1", port))
            self.sock.sendall(handshake(port, path, token))
            head = b""
            while not head.endswith(b"\r\n\r\n"):  # byte by byte: what follows stays in the kernel
                byte = self.sock.recv(1)
                assert byte, f"refused: {head!r}"
                head += byte
            assert head.startswith(b"HTTP/1.1 101 "), head
            self.sock.setblocking(False)
        except BaseException:
            self.sock.close()
            raise

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, opcode: int, payload: bytes = b"") -> None:
        """Send one frame. A peer that is gone is no error."""
        try:
            self.sock.send(client_frame(opcode, payload))
        except OSError:
            self.ended = True

    def read(self) -> None:
        """Take what the kernel has."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self.feed(data)
        else:
            self.ended = True

    def feed(self, data: bytes) -> None:
        """Bytes from the server: whole frames are taken, the rest waits."""
        data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 2:
            size, body = data[at + 1] & 0x7F, at + 2
            if size > 125:
                width = 2 if size == 126 else 8
                size, body = int.from_bytes(data[body : body + width], "big"), body + width
            if body + size > end:
                break
            self._take(data[at] & 0x0F, data[body : body + size])
            at = body + size
        self._rest = data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.events.append(json.loads(payload))
        elif opcode == PING:
            self.send(PONG, payload)
        elif opcode == CLOSE:
            self.closed_with(int.from_bytes(payload[:2], "big"))

    def closed_with(self, code: int) -> None:
        """The server's Close frame: answered, as RFC 6455 section 5.5.1 asks."""
        self.close_code = code
        self.send(CLOSE, code.to_bytes(2, "big"))

    def has(self, event: str, **data: object) -> bool:
        """Whether an event of that name came whose ``data`` holds these values."""
        return any(
            item["event"] == event and all(item["data"].get(key) == value for key, value in data.items())
            for item in self.events
        )

    def messages(self) -> list[Any]:
        """The ``data`` of the messages that came."""
        return [item["data"] for item in self.events if item["event"] == "message"]

    def close(self) -> None:
        """Gone without a word."""
        self.sock.close()


def handshake(port: int, path: str, token: str | None) -> bytes:
    """The upgrade request."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


class Crowd:
    """Reads any number of sockets through epoll. As a context manager it closes them all."""

    def __init__(self) -> None:
        self.members: list[LeanSocket] = []
        self._selector = selectors.EpollSelector()

    def add(self, member: LeanSocket, *, reads: bool = True) -> LeanSocket:
        """Look after one more; with ``reads`` False it is only closed in the end."""
        self.members.append(member)
        if reads:
            self._selector.register(member, selectors.EVENT_READ)
        return member

    def pump(self, timeout: float = 0.05) -> None:
        """Read once from every socket that has something."""
        for key, _ in self._selector.select(timeout):
            member = key.fileobj
            assert isinstance(member, LeanSocket)
            member.read()
            if member.ended:
                self._selector.unregister(member)

    def pump_until(self, condition: Callable[[], bool], seconds: float, what: Callable[[], object] = str) -> None:
        """Read until the condition holds; fail, saying ``what()``, when it does not come to."""
        deadline = time.monotonic() + seconds
        is_last = False
        while not condition():
            assert not is_last, f"not within {seconds:g} s: {what()}"
            is_last = time.monotonic() > deadline  # before the read: this process may have been held up
            self.pump()

    def wait_all(self, condition: Callable[[LeanSocket], bool], seconds: float, what: str) -> None:
        """Read until the condition holds for every member."""
        waiting = list(self.members)

        def done() -> bool:
            waiting[:] = [member for member in waiting if not condition(member)]
            return not waiting

        self.pump_until(done, seconds, lambda: f"{what}: {len(waiting)} of {len(self.members)} wait")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for member in self.members:
            member.close()


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """Allow this process, and those that it starts, ``count`` open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def tcp_descriptors(files: dict[int, str], remote_port: int) -> list[int]:
    """Those of a process's ``files`` that are established IPv4 connections to ``remote_port``."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].split(":")[1], 16) == remote_port and fields[3] == "01":
            inodes.add(f"socket:[{fields[9]}]")
    return [descriptor for descriptor, leads_to in files.items() if leads_to in inodes]


def open_files() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def names(members: Sequence[LeanSocket]) -> list[str]:
    """The events of each member, for a failure's text; a few are enough."""
    return [",".join(item["event"] for item in member.events) for member in members[:5]]
