"""Stand-ins for the loop, a transport and the owner of a subscription: all that they do is remember."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from bridge.core.limits import HIGH_WATER_BYTES
from bridge.core.telemetry import Fix, Telemetry
from bridge.fanout.broker import Broker
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.rendering import Entry, Message
from bridge.fanout.subscription import Subscription
from bridge.protocol.frames import event_frame


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
    """A live position without a time."""
    return Telemetry(device_id, text.encode(), fix=Fix(1.5, -70.25))


def event(device_id: str, text: str = "{}") -> Telemetry:
    """A live message of the other kind."""
    return Telemetry(device_id, text.encode())


class Transport:
    """What a peer reads at once, until it is ``stuck``; then what is written stays in the buffer until ``drain``.

    Like a transport of the loop it calls ``pause_writing`` when more than HIGH_WATER_BYTES are buffered, within the
    write that passes them, and ``resume_writing`` when the peer has read.
    """

    def __init__(self) -> None:
        self.data = b""
        self.buffered = 0
        self.peak = 0
        self.writes = 0
        self.stuck = False
        self.broken = False
        self.paused = False
        self.pause_writing: Callable[[], None] = lambda: None
        self.resume_writing: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        if self.broken:
            raise RuntimeError("the handle is closed")
        self.data += data
        self.writes += 1
        if self.stuck:
            self._buffer(len(data))

    def _buffer(self, size: int) -> None:
        self.buffered += size
        self.peak = max(self.peak, self.buffered)
        if self.buffered > HIGH_WATER_BYTES and not self.paused:
            self.paused = True
            self.pause_writing()

    def fill(self) -> None:
        """The peer reads nothing, and the buffer has gone above its high-water mark."""
        self.stuck = True
        self._buffer(HIGH_WATER_BYTES + 1)

    def drain(self, *, stuck: bool = False) -> None:
        """The peer has read all. It goes on reading, or is ``stuck`` again."""
        self.stuck = stuck
        self.buffered = 0
        if self.paused:
            self.paused = False
            self.resume_writing()

    def events(self) -> list[dict[str, Any]]:
        """What was written since the last call."""
        data, self.data = self.data, b""
        return events_in(data)


class Owner:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def overflowing(self, device_id: str) -> None:
        self.told.append(f"overflowing {device_id}")

    def overflowed(self) -> None:
        self.told.append("overflowed")

    def failed(self) -> None:
        self.told.append("failed")


class Frames:
    """A renderer that shows what it is given, whatever a turn brings."""

    shows_losses = True

    def __init__(self) -> None:
        self.ready: list[Entry] = []

    def render(self, turn: Sequence[Message], now: float, monotonic: float) -> Sequence[Entry]:
        ready, self.ready = self.ready, []
        return ready

    def event(self, name: str, data: Mapping[str, Any]) -> bytes:
        return event_frame(name, data)

    def name_of(self, device_id: str) -> str | None:
        return device_id


def subscribe(
    broker: Broker,
    policy: Policy = Policy.LATEST,
    messages: int = 100,
    frame_bytes: int = 10**6,
    *,
    owner: Owner | None = None,
    transport: Transport | None = None,
) -> tuple[Subscription, Transport]:
    """A subscription that writes to a transport, each heeding the other as a session sees to it."""
    transport = transport or Transport()
    limits = OutboxLimits(messages, frame_bytes, policy)
    subscription = Subscription(transport.write, limits, owner or Owner(), broker.tally)

    def resumed() -> None:
        subscription.resume()
        if subscription.pending:
            broker.pump(subscription)

    transport.pause_writing = subscription.pause
    transport.resume_writing = resumed
    return subscription, transport


class Clock:
    """A wall clock, or a monotonic one, that goes when a test moves it."""

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
    """``call_later`` of a loop whose time goes when a test moves it."""

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

    def run(self) -> int:
        """Turns until nothing is left to call; returns how many."""
        turns = 0
        while self.turn():
            turns += 1
        return turns
