"""One socket as the broker sees it: where its frames go, and what waits when it cannot take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from bridge.core.limits import CHUNK_BYTES, REPLAY_LOOKS
from bridge.core.times import timestamp
from bridge.fanout.gap import Gap
from bridge.fanout.outbox import Outbox, OutboxLimits, Outcome
from bridge.fanout.rendering import Entry, Renderer

EPISODE_SECONDS: Final = 60.0
"""Without a loss for this long, the next one is a new episode of overflow, and a new line in the log."""


class Owner(Protocol):
    """What a subscription reports trouble to. Called on the loop; must not raise."""

    def overflowing(self, device_id: str) -> None:
        """An episode of overflow begins: messages are being lost."""

    def overflowed(self) -> None:
        """The outbox is full under ``disconnect``: close the socket. Not while this call runs."""

    def failed(self) -> None:
        """Writing failed: nothing can be delivered any more."""


class Tally:
    """What all sockets of a broker have got and missed, those that are gone included, and how many are behind."""

    __slots__ = ("behind", "conflated", "delivered", "dropped")

    def __init__(self) -> None:
        self.behind = self.delivered = self.dropped = self.conflated = 0


class Subscription:
    """Bounded: what the transport buffers (it calls ``pause`` when that is enough), and one outbox behind it.

    While the transport takes everything there is no outbox at all: ``ready`` is true, and fan-out calls
    ``write`` without asking here (``cohort``). Messages that cannot be written are given to ``hold``; ``pump``
    writes what waits. ``sent`` counts messages when they are written, replays included.
    """

    __slots__ = (
        "_conflated", "_dropped", "_limits", "_lost_at", "_owner", "_paused", "_peak", "_replay", "_tally",
        "outbox", "ready", "renderer", "sent", "write",
    )  # fmt: skip

    def __init__(self, write: Callable[[bytes], None], limits: OutboxLimits, owner: Owner, tally: Tally) -> None:
        self.write = write
        self.ready = True
        self.outbox: Outbox | None = None
        self.renderer: Renderer | None = None
        """How the selection is shown: as of the cohort that it is in, or was in last."""
        self.sent = 0
        self._limits = limits
        self._owner = owner
        self._tally = tally
        self._paused = False
        self._replay: Iterator[Sequence[bytes]] | None = None
        self._lost_at: float | None = None
        self._dropped = self._conflated = self._peak = 0

    # --- counters -------------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Messages that were lost for this socket."""
        return self._dropped + (self.outbox.gap.dropped if self.outbox is not None else 0)

    @property
    def conflated(self) -> int:
        """Messages in whose place a newer one was sent."""
        return self._conflated + (self.outbox.gap.conflated if self.outbox is not None else 0)

    @property
    def peak(self) -> int:
        """Most messages that ever waited in the outbox."""
        return max(self._peak, self.outbox.peak if self.outbox is not None else 0)

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages and bytes that wait in the outbox now."""
        return (len(self.outbox), self.outbox.frame_bytes) if self.outbox is not None else (0, 0)

    # --- what the transport says ------------------------------------------------------------------------

    def pause(self) -> None:
        """The transport has enough: nothing is written until ``resume``."""
        self._paused = True
        self.ready = False

    def resume(self) -> None:
        """The transport takes data again; what waits is written by ``pump``."""
        self._paused = False
        self.ready = self.outbox is None

    def failed(self) -> None:
        """Writing raised: nothing more is written."""
        self.pause()
        self._owner.failed()

    # --- delivery -------------------------------------------------------------------------------------

    @property
    def replaying(self) -> bool:
        """Whether last-known messages wait to be shown."""
        return self._replay is not None

    @property
    def behind(self) -> bool:
        """Whether something waits, live or last-known."""
        return self.outbox is not None or self._replay is not None

    @property
    def pending(self) -> bool:
        """Whether something waits that could be written now."""
        return self.behind and not self._paused

    def hold(self, entries: Sequence[Entry], now: float) -> None:
        """Queue ``entries``, which the transport cannot take now. ``now`` is wall-clock."""
        outbox = self._outbox(now)
        gap = outbox.gap
        dropped, conflated = gap.dropped, gap.conflated
        for number, entry in enumerate(entries):
            outcome = outbox.offer(entry)
            if outcome is Outcome.DROPPED:
                if self._lost_at is None or now - self._lost_at > EPISODE_SECONDS:
                    self._owner.overflowing(entry.device_id)
                self._lost_at = now
            elif outcome is Outcome.OVERFLOWED:
                for refused in entries[number:]:
                    gap.note(refused.device_id, dropped=1)
                self._owner.overflowed()
                break
        self._tally.dropped += gap.dropped - dropped
        self._tally.conflated += gap.conflated - conflated

    def lost(self, counts: Mapping[str, int], incomplete: bool, now: float) -> None:
        """Note messages that were lost before they reached this socket, by device."""
        gap = self._outbox(now).gap
        gap.incomplete |= incomplete
        for device_id, count in counts.items():
            gap.note(device_id, dropped=count)
            self._tally.dropped += count

    def _outbox(self, now: float) -> Outbox:
        self.ready = False
        if self.outbox is None:
            self._tally.behind += not self.behind
            self.outbox = Outbox(self._limits, now)
        return self.outbox

    def show(self, replay: Iterator[Sequence[bytes]]) -> None:
        """Write what ``replay`` gives, one device after the other, as fast as the transport takes it.

        In the place of an earlier replay. Each step is bounded by its maker; live messages go past it.
        """
        self._tally.behind += not self.behind
        self._replay = replay

    def pump(self, now: float) -> None:
        """Write what waits, one chunk at most: what remains is ``pending``. ``now`` is wall-clock."""
        if self._paused:
            return
        frames, live, replayed = self._next_frames(CHUNK_BYTES, now)
        self.ready = self.outbox is None
        if not frames:
            return
        try:
            self.write(b"".join(frames))
        except RuntimeError:  # see Cohort.flush
            self._dropped += live
            self._tally.dropped += live
            self.failed()
        else:
            self.sent += live + replayed
            self._tally.delivered += live + replayed

    def _next_frames(self, room: int, now: float) -> tuple[list[bytes], int, int]:
        """What to write now, and how many messages of it are live, and replayed."""
        frames: list[bytes] = []
        live = replayed = 0
        if self.outbox is not None:
            gap = self.outbox.gap
            if gap and self.renderer is not None:
                self._dropped += gap.dropped
                self._conflated += gap.conflated
                frames.append(self.renderer.event("gap", gap.data(timestamp(gap.since))))
                self.outbox.gap = Gap(now)
            taken = self.outbox.take(room)
            frames += taken
            live = len(taken)
            room -= sum(map(len, taken))
            if not self.outbox:
                self._drop_outbox()
        looks = 0
        while self._replay is not None and self.outbox is None and room > 0 and looks < REPLAY_LOOKS:
            looks += 1
            shown = next(self._replay, None)
            if shown is None:
                self._end_replay()
            else:
                frames += shown
                replayed += len(shown)
                room -= sum(map(len, shown))
        return frames, live, replayed

    def _drop_outbox(self) -> None:
        self._dropped, self._conflated, self._peak = self.dropped, self.conflated, self.peak
        self.outbox = None
        self._tally.behind -= not self.behind

    def _end_replay(self) -> None:
        if self._replay is not None:
            self._replay = None
            self._tally.behind -= not self.behind

    def forget(self) -> None:
        """Let go of everything that waits, and count it as dropped: nothing more is written for this socket."""
        if self.outbox is not None:
            waiting = len(self.outbox)
            self.outbox.clear()
            self._drop_outbox()
            self._dropped += waiting
            self._tally.dropped += waiting
        self._end_replay()
        self._paused = True
        self.ready = False
