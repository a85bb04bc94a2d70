"""One stranger's connection that sends frames as fast as it can."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from bench.client import CLOSE, CONTINUATION, PONG, READ_BYTES, TEXT, Refused, ServerFrames, client_frame, upgrade

BLOCK_BYTES: Final = 64 * 1024
"""Frames of one send: the kernel's copy is the only work that a stranger has."""
CONNECT_SECONDS: Final = 5.0
RECONNECT_SECONDS: Final = 1.0
"""Between the end of a connection and the next: the attack is of frames, not of handshakes."""
WAIT_SECONDS: Final = 0.1
"""Longest wait for the socket, so that the end of the attack is not missed."""
FRAMES: Final = ("pongs", "continuations", "fragments")
STILL_OPEN: Final = "open"


@dataclass(frozen=True, slots=True)
class Attack:
    """What the strangers send (one of FRAMES), where, and as whom."""

    frames: str
    masked: bool
    where: str
    path: str
    headers: tuple[str, ...] = ()
    token: bool = True
    """Whether ``path`` or ``headers`` hold a token: for the name only."""

    @property
    def name(self) -> str:
        """As the report has it."""
        mask = "masked" if self.masked else "unmasked"
        return f"{self.frames}, {mask}, {self.where}, {'token' if self.token else 'no token'}"

    def opening(self) -> bytes:
        """What is sent once."""
        if self.frames == "pongs":
            return b""
        payload = b"" if self.frames == "continuations" else b"x"
        return client_frame(TEXT, payload, final=False, masked=self.masked)

    def block(self) -> bytes:
        """Whole frames that are sent again and again."""
        if self.frames == "pongs":
            frame = client_frame(PONG, masked=self.masked)
        else:
            payload = b"" if self.frames == "continuations" else b"x"
            frame = client_frame(CONTINUATION, payload, final=False, masked=self.masked)
        return frame * (BLOCK_BYTES // len(frame))


def _close_code(payload: bytes) -> str:
    return str(int.from_bytes(payload[:2], "big")) if len(payload) >= 2 else "none"


def _flood(sock: socket.socket, attack: Attack, frames: ServerFrames, deadline: float) -> str:
    """Sends until the deadline or the end of the connection: its close code, ``cut`` without one, or STILL_OPEN."""
    waiting, block = memoryview(attack.opening()), attack.block()
    while time.monotonic() < deadline:
        readable, writable, _ = select.select([sock], [sock], [], WAIT_SECONDS)
        if readable:
            data = sock.recv(READ_BYTES)
            if not data:
                return "cut"
            for opcode, payload in frames.feed(data):
                if opcode == CLOSE:
                    return _close_code(payload)
        if writable:
            waiting = waiting or memoryview(block)
            waiting = waiting[sock.send(waiting) :]
    return STILL_OPEN


def _connection(attack: Attack, address: str, port: int, deadline: float) -> str:
    """One connection: its end as ``_flood`` has it, ``HTTP 429``, or ``unanswered`` after CONNECT_SECONDS."""
    frames = ServerFrames()
    try:
        with socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS, (address, 0)) as sock:
            for opcode, payload in frames.feed(upgrade(sock, attack.path, attack.headers)):
                if opcode == CLOSE:
                    return _close_code(payload)
            sock.setblocking(False)
            return _flood(sock, attack, frames, deadline)
    except Refused as refused:
        return f"HTTP {refused.status}"
    except TimeoutError:
        return "unanswered"
    except OSError:
        return "cut"


def run_attack(attack: Attack, address: str, port: int, seconds: float) -> Counter[str]:
    """Attacks from ``address`` for ``seconds``, anew when a connection has ended: how often each end came."""
    ends: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ends[_connection(attack, address, port, deadline)] += 1
        if deadline > time.monotonic():
            time.sleep(min(RECONNECT_SECONDS, left))
    return ends
