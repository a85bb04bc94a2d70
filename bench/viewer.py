"""The honest ones: a viewer who pings, and a probe that asks for /healthz. Each measures how long its answers take."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final

from bench.client import CLOSE, READ_BYTES, TEXT, ServerFrames, client_frame, upgrade

PING: Final = client_frame(TEXT, b'{"action":"ping"}')
PING_SECONDS: Final = 0.06
"""Between two pings: below the 20 commands a second that a client may send."""
HEALTH_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 30.0
"""An answer that takes longer has not come."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Round trips in ms. ``failure``: why it ended early; the last round trip is then the wait for what never came."""

    round_trips_ms: tuple[float, ...]
    failure: str = ""


def _watch(ask: Callable[[], None], every: float, seconds: float) -> Watched:
    found: list[float] = []
    end = time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        failure = ""
        try:
            ask()
        except (OSError, HTTPException) as error:
            failure = str(error) or type(error).__name__
        taken = time.monotonic() - start
        found.append(taken * 1000)
        if failure:
            return Watched(tuple(found), failure)
        time.sleep(max(0.0, every - taken))
    return Watched(tuple(found))


def view(port: int, path: str, headers: Sequence[str], seconds: float) -> Watched:
    """Opens a stream and pings for ``seconds``, one ping at a time."""
    frames = ServerFrames()
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as sock:
        list(frames.feed(upgrade(sock, path, headers)))

        def ask() -> None:
            sock.sendall(PING)
            while True:
                data = sock.recv(READ_BYTES)
                if not data:
                    raise ConnectionError("the server cut the viewer's connection")
                for opcode, payload in frames.feed(data):
                    if opcode == CLOSE:
                        raise ConnectionError(f"the server closed the viewer's stream: {payload[2:].decode()}")
                    if opcode == TEXT and json.loads(payload)["event"] == "pong":
                        return

        return _watch(ask, PING_SECONDS, seconds)


def poll_health(port: int, seconds: float) -> Watched:
    """Asks for /healthz, each time on a new connection, as a load balancer does."""

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ConnectionError(f"/healthz answered {answer.status}")

    return _watch(ask, HEALTH_SECONDS, seconds)
