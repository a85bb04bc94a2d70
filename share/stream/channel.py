"""The way from one device's telemetry to what the viewers of one grant see.

A channel renders a cohort of the broker: it gets the telemetry of its devices, once for all its viewers,
and gives what it has made of it. Nothing of a message but what the grant permits leaves this module.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bridge.core.geo import distance_m
from bridge.core.limits import FUTURE_SECONDS
from bridge.core.telemetry import Kind, Position, Telemetry
from bridge.core.times import Timer
from bridge.fanout.rendering import Entry, Message, Selection
from bridge.protocol.frames import event_frame
from share.model.grant import Grant
from share.stream.projection import project, public_frame

EPOCH_BYTES: Final = 3
"""Random bytes that tell the message ids of one channel from those of another: ``k3f9-152``."""
FIRST_SEQUENCES: Final = 1_000_000
"""Where message ids begin is chosen below this, so that they do not tell how much was shown before."""
HELD_POSITIONS: Final = 600
"""Positions of a channel that wait for a delay to pass, shared by its devices: with one device, one each 0.5 s for five
minutes; 200 bytes each."""
REPLAY_POSITIONS: Final = 32
"""Positions of a trail that are written at once: 8 KiB, little beside the chunk that a socket may have waiting."""
TRAIL_STEP_M: Final = 25.0
"""Least distance between two positions of a trail: so that one that is parked does not eat it up."""


class _Held:
    """A position that waits for its delay to pass."""

    __slots__ = ("position", "release_deadline", "since_monotonic")

    def __init__(self, position: Position, monotonic: float, delay: float) -> None:
        self.since_monotonic = monotonic
        self.replace(position, monotonic, delay)

    def replace(self, position: Position, monotonic: float, delay: float) -> None:
        self.position = position
        self.release_deadline = monotonic + delay


class _Device:
    """What a channel knows of one device. ``trail`` and ``last`` are public: ``(sequence, body)``."""

    __slots__ = ("alias", "arrived", "held", "is_fixed", "last", "newest_at", "place", "trail", "trail_place")

    def __init__(self, alias: str, trail: int) -> None:
        self.alias = alias
        self.held: deque[_Held] = deque()
        self.newest_at: tuple[float, float, float] | None = None
        self.is_fixed = False
        self.trail: deque[tuple[int, bytes]] = deque(maxlen=trail)
        self.trail_place: tuple[float, float] | None = None
        self.last: tuple[int, bytes] | None = None
        self.place: tuple[float, float] = (0.0, 0.0)
        self.arrived = False

    def shown(self) -> tuple[tuple[int, bytes], ...]:
        """The trail and the last position."""
        return (*self.trail, self.last) if self.last is not None else ()


class Channel:
    """A ``Renderer`` of the broker's: everything on the loop.

    A position is not shown when it was received or measured before the grant's start, when it is older
    than one that was taken before, or repeats it. Its time is the device's, but never later than when it
    was received; where the device gives none it is when it was received. Other messages are not shown.

    With a delay, each device has at most its part of HELD_POSITIONS that wait: of several within the same part of
    the delay the newest stays.
    """

    __slots__ = (
        "_call_later", "_devices", "_epoch", "_grant", "_most_held", "_on_arrival", "_ready", "_sequence", "_timer",
        "_turn", "selection", "watched",
    )  # fmt: skip

    def __init__(
        self,
        grant: Grant,
        *,
        call_later: Callable[[float, Callable[[], None]], Timer],
        turn: Callable[[Selection], None],
        on_arrival: Callable[[], None],
    ) -> None:
        """``turn`` is the broker's ``render``: it makes a turn when a delay has passed.

        ``on_arrival`` is called once, in a separate turn, when every device was shown at the destination
        of a grant with ``end_on_arrival``.
        """
        self.selection = Selection(frozenset(grant.device_ids), self)
        """What the broker has to keep, and viewers to select."""
        self.watched = False
        """Whether there are viewers: most shares are open for hours and watched for minutes."""
        self._grant = grant
        self._call_later = call_later
        self._turn = turn
        self._on_arrival: Callable[[], None] | None = on_arrival if grant.end_on_arrival else None
        self._devices = {device_id: _Device(alias, grant.trail) for device_id, alias in grant.aliases}
        self._epoch = secrets.token_hex(EPOCH_BYTES)
        self._sequence = secrets.randbelow(FIRST_SEQUENCES)
        self._most_held = HELD_POSITIONS // len(grant.aliases)
        self._ready: list[Entry] = []
        self._timer: Timer | None = None

    @property
    def shows_losses(self) -> bool:
        """Not with a delay, as in ``name_of``."""
        return not self._grant.delay_s

    def name_of(self, device_id: str) -> str | None:
        """None with a delay: that messages were lost tells that the device sends now."""
        return None if self._grant.delay_s else self._devices[device_id].alias

    def rename(self, aliases: Mapping[str, str]) -> None:
        """From now on the devices have these aliases."""
        for device_id, alias in aliases.items():
            self._devices[device_id].alias = alias

    # --- what viewers are shown when they come ------------------------------------------------------------

    def last(self) -> list[tuple[str, bytes | None]]:
        """Alias and newest public position, as JSON, of each device."""
        return [(device.alias, device.last[1] if device.last else None) for device in self._devices.values()]

    def known(self) -> Iterator[Sequence[bytes]]:
        """The trails and last positions, for a new viewer's subscription to ``show``.

        What comes live meanwhile may reach it before, and is then shown once more in its place, with the same
        id: the last that it is shown of a device is always the newest. Never a whole trail at once: it is several
        times what a socket may have waiting.
        """
        for device in self._devices.values():
            shown = 0
            while True:
                part = [entry for entry in device.shown() if entry[0] > shown][:REPLAY_POSITIONS]
                yield [public_frame(self._id(number), device.alias, body, replay=True) for number, body in part]
                if len(part) < REPLAY_POSITIONS:
                    break
                shown = part[-1][0]

    def _id(self, sequence: int) -> str:
        return f"{self._epoch}-{sequence}"

    # --- Renderer -----------------------------------------------------------------------------------------

    def render(self, turn: Sequence[Message], now: float, monotonic: float) -> Sequence[Entry]:
        """The public positions among ``turn``, and those whose delay has passed."""
        for message in turn:
            self.take(message.telemetry, now, monotonic)
        if self._grant.delay_s and self._timer is None:
            self._release(monotonic)
        ready, self._ready = self._ready, []
        return ready

    def event(self, name: str, data: Mapping[str, Any]) -> bytes:
        """A text frame."""
        return event_frame(name, data)

    # --- what comes ---------------------------------------------------------------------------------------

    def take(self, message: Telemetry, now: float, monotonic: float) -> None:
        """Show ``message`` with the next turn, or when its delay has passed, if it is fit to be shown.

        ``now`` is when it came, by the wall clock. A retained message is older: only its own time says when
        it is from. One without, or with one that cannot be since it lies ahead of ours, is shown to nobody whose
        grant has a start, and never in the place of another. Where a network takes a device to be is never shown in
        the place of what the device says itself, which takes the place of it at once.
        """
        position = message.position
        device = self._devices.get(message.device_id)
        is_fix = message.fix is not None
        if position is None or device is None or (device.is_fixed and not is_fix):
            return
        starts_at = self._grant.starts_at
        at = now if position.time is None else min(position.time, now)
        if starts_at is not None and (now < starts_at or at < starts_at):
            return
        is_undated = message.retained and (position.time is None or position.time > now)
        if is_undated and (starts_at is not None or device.last is not None or device.held):
            return
        if position.time is not None and position.time > now + FUTURE_SECONDS:
            return
        key = (at, position.lat, position.lon)
        if is_fix is not device.is_fixed:  # what a network said before makes no fix an old one
            device.is_fixed, device.newest_at = True, None
        if position.time is not None:  # where only we know the time, our clock may have been set back
            if device.newest_at is not None and (at < device.newest_at[0] or key == device.newest_at):
                return
            device.newest_at = key
        if position.time != at and not (message.retained and position.time is None):
            position = position._replace(time=at)
        if self._grant.delay_s:
            self._hold(device, position, monotonic)
        else:
            self._publish(device, position)

    def _publish(self, device: _Device, exact: Position) -> None:
        self._sequence += 1
        shown = project(exact, self._grant.fields, self._grant.precision_m)
        if self._grant.trail and device.last is not None and self._is_apart(device):
            device.trail.append(device.last)
            device.trail_place = device.place
        device.last, device.place = (self._sequence, shown.body), (shown.lat, shown.lon)
        if self.watched:
            frame = public_frame(self._id(self._sequence), device.alias, shown.body, replay=False)
            self._ready.append(Entry(device.alias, Kind.POSITION, frame))  # undated: each is to follow the one before
        self._look_for_arrival(device, exact)

    def _is_apart(self, device: _Device) -> bool:
        """Whether the last position is far enough from the trail's end to become a part of it."""
        return device.trail_place is None or distance_m(*device.trail_place, *device.place) >= TRAIL_STEP_M

    def _look_for_arrival(self, device: _Device, exact: Position) -> None:
        goal = self._grant.destination
        if self._on_arrival is None or goal is None or device.arrived:
            return
        device.arrived = distance_m(exact.lat, exact.lon, goal.lat, goal.lon) <= goal.radius_m
        if all(each.arrived for each in self._devices.values()):
            self._call_later(0.0, self._on_arrival)
            self._on_arrival = None

    # --- delay --------------------------------------------------------------------------------------------

    def _hold(self, device: _Device, position: Position, monotonic: float) -> None:
        delay = self._grant.delay_s
        held = device.held
        if held and (monotonic - held[-1].since_monotonic < delay / self._most_held or len(held) >= self._most_held):
            held[-1].replace(position, monotonic, delay)
        else:
            held.append(_Held(position, monotonic, delay))

    def _release(self, monotonic: float) -> None:
        """Show what has waited long enough, and see to the rest when it has."""
        for device in self._devices.values():
            while device.held and device.held[0].release_deadline <= monotonic:
                self._publish(device, device.held.popleft().position)
        waiting = [device.held[0].release_deadline for device in self._devices.values() if device.held]
        if waiting:
            self._timer = self._call_later(max(min(waiting) - monotonic, 0.0), self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._turn(self.selection)

    def close(self) -> None:
        """Nothing is shown any more."""
        self._on_arrival = None
        if self._timer is not None:
            self._timer.cancel()
        self._ready = []
        for device in self._devices.values():
            device.held.clear()
            device.trail.clear()
            device.last = None
