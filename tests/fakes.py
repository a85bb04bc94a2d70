"""Stand-ins for the loop, a transport and the owner of a subscription: all that they do is remember."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from bridge.core.telemetry import Fix, Telemetry


def frames_in(data: bytes) -> list[Frame]:
    """The WebSocket frames in ``data``, read by another project's parser; all must be complete."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    frames = []
    while not _finish(reader.at_eof()):
        frames.append(_finish(Frame.parse(reader.read_exact, mask=False)))
    return frames


def _finish(generator: Generator[None, None, Any]) -> Any:
    try:
        while True:
            next(generator)
    except StopIteration as done:
        return done.value


def events_in(data: bytes) -> list[dict[str, Any]]:
    """The JSON events in ``data``."""
    return [json.loads(bytes(frame.data)) for frame in frames_in(data) if frame.opcode is Opcode.TEXT]


def position(device_id: str, text: str = "{}") -> Telemetry:
    """A live position without a time of its own."""
    return Telemetry(device_id, text.encode(), fix=Fix(1.5, -70.25))


def event(device_id: str, text: str = "{}") -> Telemetry:
    """A live message of the other kind."""
    return Telemetry(device_id, text.encode())


class Transport:
    """Takes everything into its buffer, which empties when the test says that the peer has read."""

    def __init__(self, buffered: int = 0) -> None:
        self.data = b""
        self.buffered = buffered
        self.peak = 0
        self.writes = 0
        self.closing = False
        self.stuck = False

    def write(self, data: bytes) -> None:
        assert not self.closing, "written after the end"
        self.data += data
        self.writes += 1
        if self.stuck:
            self.buffered += len(data)
            self.peak = max(self.peak, self.buffered)

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def events(self) -> list[dict[str, Any]]:
        """What was written since the last call."""
        data, self.data = self.data, b""
        return events_in(data)


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def overflowing(self, device_id: str) -> None:
        self.told.append(f"overflowing {device_id}")

    def overflowed(self) -> None:
        self.told.append("overflowed")

    def stalled(self) -> None:
        self.told.append("stalled")


class Clock:
    """A wall clock, or a monotonic one, that goes when it is told."""

    def __init__(self, now: float = 1_900_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Timer:
    def __init__(self, at: float, callback: Callable[[], object]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    """``call_later`` of a loop whose time goes when it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[Timer] = []

    def __call__(self, delay: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(self.now + delay, callback)
        self.waiting.append(timer)
        return timer

    @property
    def due(self) -> list[float]:
        """Seconds until each timer that was not cancelled, the next one first."""
        return sorted(timer.at - self.now for timer in self.waiting if not timer.cancelled)

    def advance(self, seconds: float) -> None:
        """Let time pass and run what becomes due, in order."""
        until = self.now + seconds
        while ready := [timer for timer in self.waiting if not timer.cancelled and timer.at <= until]:
            timer = min(ready, key=lambda one: one.at)
            self.waiting.remove(timer)
            self.now = max(self.now, timer.at)
            timer.callback()
        self.now = until


class Loop:
    """Keeps what it is asked to call."""

    def __init__(self) -> None:
        self.woken: list[Callable[[], None]] = []
        self.soon: list[Callable[[], None]] = []
        self.closed = False

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.woken.append(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def turn(self) -> int:
        """One turn; returns how many callbacks it ran."""
        ready = self.woken + self.soon
        self.woken, self.soon = [], []
        for callback in ready:
            callback()
        return len(ready)
