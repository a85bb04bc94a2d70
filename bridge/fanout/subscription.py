"""One socket as the broker sees it: where its frames go, and what waits when it cannot take them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from bridge.core.limits import CHUNK_BYTES, LOW_WATER_BYTES, REPLAY_LOOKS, WRITE_SECONDS
from bridge.core.telemetry import Telemetry
from bridge.core.times import timestamp
from bridge.fanout.outbox import Gap, Outbox, OutboxLimits, Outcome
from bridge.protocol.frames import event_frame

Entry = tuple[Telemetry, bytes]
"""A message and the frame that carries it."""

MOST_PATIENCE_SECONDS: Final = 0.1
"""Longest time between two looks at a socket that takes nothing. It grows with the time that it has taken
nothing, so that 200 dead peers do not cost as much as the good ones."""
EPISODE_SECONDS: Final = 60.0
"""Without a loss for this long, the next one is a new episode of overflow, and a new line in the log."""


class Transport(Protocol):
    """The part of asyncio.WriteTransport that is used."""

    def write(self, data: bytes) -> None: ...
    def is_closing(self) -> bool: ...
    def get_write_buffer_size(self) -> int: ...


class Owner(Protocol):
    """Whom a subscription tells about trouble. Called on the loop; must not raise."""

    def overflowing(self, device_id: str) -> None:
        """An episode of overflow begins: messages are being lost."""

    def overflowed(self) -> None:
        """The outbox is full under ``disconnect``: close the socket."""

    def stalled(self) -> None:
        """Nothing was taken for WRITE_SECONDS, or writing failed: abort the socket."""


class Tally:
    """What all sockets of a broker have got and missed, those that are gone included."""

    __slots__ = ("conflated", "delivered", "dropped")

    def __init__(self) -> None:
        self.delivered = self.dropped = self.conflated = 0


class Subscription:
    """Bounded: one chunk in the transport's buffer (or one message, if that is larger), one outbox behind it.

    While the transport takes everything there is no outbox at all, and fan-out writes to the transport
    without asking here (``cohort``). ``behind`` says that there is something to pump.
    """

    __slots__ = (
        "_conflated", "_counted_from", "_dropped", "_limits", "_lost_at", "_owner", "_peak", "_replay", "_sent",
        "_sweep", "_tally", "_waiting_since", "counter", "next_look", "outbox", "transport",
    )  # fmt: skip

    def __init__(self, transport: Transport, limits: OutboxLimits, owner: Owner, tally: Tally | None = None) -> None:
        self.transport = transport
        self.outbox: Outbox | None = None
        self.counter: Callable[[], int] = int
        self.next_look = 0.0
        self._limits = limits
        self._owner = owner
        self._tally = tally or Tally()
        self._replay: OrderedDict[str, Callable[[str], Iterable[bytes]]] | None = None
        self._sweep: Iterator[Sequence[bytes]] | None = None
        self._waiting_since: float | None = None
        self._lost_at: float | None = None
        self._sent = self._dropped = self._conflated = self._peak = self._counted_from = 0

    # --- counters -------------------------------------------------------------------------------------

    @property
    def sent(self) -> int:
        """Messages written for this socket, replays included."""
        return self._sent + self.counter() - self._counted_from

    @property
    def dropped(self) -> int:
        return self._dropped + (self.outbox.gap.dropped if self.outbox is not None else 0)

    @property
    def conflated(self) -> int:
        return self._conflated + (self.outbox.gap.conflated if self.outbox is not None else 0)

    @property
    def peak(self) -> int:
        """Most messages that ever waited in the outbox."""
        return max(self._peak, self.outbox.peak if self.outbox is not None else 0)

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages and bytes that wait in the outbox now."""
        return (len(self.outbox), self.outbox.frame_bytes) if self.outbox is not None else (0, 0)

    def count_with(self, counter: Callable[[], int]) -> None:
        """From now on ``counter`` counts what is written without asking here."""
        self._sent = self.sent
        self.counter = counter
        self._counted_from = counter()

    # --- delivery -------------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether something waits here to be pumped: the outbox, or last-known messages to be shown."""
        return self.outbox is not None or self._replay is not None or self._sweep is not None

    def caught_up(self, now: float, monotonic: float) -> bool:
        """Whether new frames may be written past this subscription; what waits is written first if there is room.

        Turns may follow each other faster than the broker's pump: a socket that has room must not lose
        messages because nobody has looked.
        """
        if self.outbox is not None and monotonic >= self.next_look:
            self.pump(now, monotonic)
        return self.outbox is None and not self.transport.is_closing()

    def hold(self, entries: Sequence[Entry], now: float) -> None:
        """Queue ``entries``, which the counter has counted, since the transport cannot take them now.

        ``now`` is wall-clock.
        """
        self._sent -= len(entries)
        if self.outbox is None:
            self.outbox = Outbox(self._limits, now)
        gap = self.outbox.gap
        dropped, conflated = gap.dropped, gap.conflated
        for number, (message, frame) in enumerate(entries):
            outcome = self.outbox.offer(message.device_id, message.kind, frame)
            if outcome is Outcome.DROPPED:
                if self._lost_at is None or now - self._lost_at > EPISODE_SECONDS:
                    self._owner.overflowing(message.device_id)
                self._lost_at = now
            elif outcome is Outcome.OVERFLOWED:
                for refused, _ in entries[number:]:
                    gap.note(refused.device_id, dropped=1)
                self._owner.overflowed()
                break
        self._tally.dropped += gap.dropped - dropped
        self._tally.conflated += gap.conflated - conflated

    def failed(self) -> None:
        """Writing raised: the socket is as good as gone."""
        self._owner.stalled()

    def lost(self, counts: Mapping[str, int], incomplete: bool, now: float) -> None:
        """Note messages that were lost before they reached this socket, by device."""
        if self.outbox is None:
            self.outbox = Outbox(self._limits, now)
        gap = self.outbox.gap
        gap.incomplete |= incomplete
        for device_id, count in counts.items():
            gap.note(device_id, dropped=count)
            self._tally.dropped += count

    def replay(self, device_ids: Iterable[str], frames: Callable[[str], Iterable[bytes]]) -> None:
        """Write what ``frames`` gives for each device when its turn comes, as fast as the transport takes it.

        Only the ids wait, each once: to ask again while a replay waits does not make it longer.
        """
        if self._replay is None:
            self._replay = OrderedDict()
        for device_id in device_ids:
            self._replay[device_id] = frames

    def sweep(self, frames: Iterator[Sequence[bytes]]) -> None:
        """Write what ``frames`` gives for one device after the other, in the place of an earlier sweep."""
        self._sweep = frames

    def pump(self, now: float, monotonic: float) -> bool:
        """Write what waits, one chunk at most; False when all is written or the socket is gone.

        ``now`` is wall-clock, for what the client is told; ``monotonic`` measures how long it takes. A look
        before ``next_look`` (monotonic) is too early to be worth it.
        """
        if self.transport.is_closing():
            self.forget()
            return False
        buffered = self.transport.get_write_buffer_size()
        if buffered > LOW_WATER_BYTES:
            if self._waiting_since is None:
                self._waiting_since = monotonic
            waited = monotonic - self._waiting_since
            if waited > WRITE_SECONDS:
                self._owner.stalled()
            self.next_look = monotonic + min(waited, MOST_PATIENCE_SECONDS)
            return self.behind
        self._waiting_since = None
        frames = self._next_frames(CHUNK_BYTES - buffered, now)
        if frames:
            try:
                self.transport.write(b"".join(frames))
            except RuntimeError:  # see Cohort.flush
                self.failed()
        return self.behind

    def _next_frames(self, room: int, now: float) -> list[bytes]:
        frames: list[bytes] = []
        if self.outbox is not None:
            gap = self.outbox.gap
            if gap:
                self._dropped += gap.dropped
                self._conflated += gap.conflated
                frames.append(event_frame("gap", gap.data(timestamp(gap.since))))
                self.outbox.gap = Gap(now)
            taken = self.outbox.take(room)
            self._count(len(taken))
            frames += taken
            room -= sum(map(len, taken))
            if not self.outbox:
                self._drop_outbox()
        for _ in range(REPLAY_LOOKS):
            shown = self._look() if room > 0 and self.outbox is None else None
            if shown is None:
                break
            self._count(len(shown))
            frames += shown
            room -= sum(map(len, shown))
        return frames

    def _look(self) -> Sequence[bytes] | None:
        """The last-known messages of the next device that waits to be shown; None when there is none."""
        if self._replay:
            device_id, frames_of = self._replay.popitem(last=False)
            return list(frames_of(device_id))
        self._replay = None
        shown = next(self._sweep, None) if self._sweep is not None else None
        if shown is None:
            self._sweep = None
        return shown

    def _count(self, messages: int) -> None:
        self._sent += messages
        self._tally.delivered += messages

    def _drop_outbox(self) -> None:
        self._dropped, self._conflated, self._peak = self.dropped, self.conflated, self.peak
        self.outbox = None

    def forget(self) -> None:
        """Let go of everything that waits, and count it as dropped: nothing more is written for this socket."""
        if self.outbox is not None:
            waiting = len(self.outbox)
            self._drop_outbox()
            self._dropped += waiting
            self._tally.dropped += waiting
        self._replay = self._sweep = None
