"""How the telemetry of a turn becomes what the sockets of a cohort are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bridge.core.telemetry import Kind, Telemetry
from bridge.fanout.history import taken_at
from bridge.protocol.frames import event_frame, message_frame


class Entry(NamedTuple):
    """One message as it is sent to the members of a cohort."""

    device_id: str
    """What they know the device by: its id, or an alias."""
    kind: Kind
    frame: bytes
    taken_at: float = 0.0
    """When the fix of a position was taken, see ``history.taken_at``. 0 for other kinds, and where the renderer itself
    leaves out what is older."""


class Message:
    """Telemetry on its way through one turn, with the entries that were made of it, one for each renderer."""

    __slots__ = ("entries", "number", "telemetry")

    def __init__(self, telemetry: Telemetry, number: int) -> None:
        """``number`` counts the messages of the device in this run of the server."""
        self.telemetry = telemetry
        self.number = number
        self.entries: dict[Renderer, Entry] = {}


class Renderer(Protocol):
    """How what a selection covers is shown and framed. Compared by identity: those who look at the same share one.

    Called on the loop; nothing here may wait. What it raises is a bug, and costs its cohort that turn.
    """

    @property
    def shows_losses(self) -> bool:
        """Whether the members may hear that something was lost which nobody could count by device."""

    def render(self, turn: Sequence[Message], now: float, monotonic: float) -> Sequence[Entry]:
        """What the members are sent of one turn, in order. ``now`` is wall-clock; ``turn`` may be empty."""

    def event(self, name: str, data: Mapping[str, Any]) -> bytes:
        """The frame of any other event."""

    def name_of(self, device_id: str) -> str | None:
        """What the members know a device by; None when they must not hear of it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What one socket wants and how it is shown: all that sockets of one cohort have in common."""

    device_ids: frozenset[str]
    """Ids and patterns."""
    renderer: Renderer


class PayloadRenderer:
    """The payload as the device published it, in WebSocket frames that are made once for all cohorts."""

    shows_losses = True

    def __init__(self, epoch: str) -> None:
        """``epoch`` tells one run of the server from another: message ids are ``{epoch}-{number}``."""
        self._epoch = epoch

    def render(self, turn: Sequence[Message], now: float, monotonic: float) -> Sequence[Entry]:
        """An entry for each message. A retained one is marked as a replay: it is not news."""
        if len(turn) == 1:  # in a sparse fleet, every one
            message = turn[0]
            return (message.entries.get(self) or self._entry(message, now),)
        return [message.entries.get(self) or self._entry(message, now) for message in turn]

    def _entry(self, message: Message, now: float) -> Entry:
        telemetry = message.telemetry
        device_id, fix = telemetry.device_id, telemetry.fix
        frame = message_frame(f"{self._epoch}-{message.number}", device_id, telemetry.payload, telemetry.retained)
        at = 0.0 if fix is None else fix.time  # what nearly every fix comes to is spared a call
        if at is None or at > now:
            at = taken_at(telemetry, now)
        entry = message.entries[self] = Entry(device_id, telemetry.kind, frame, at)
        return entry

    def replay(self, telemetry: Telemetry, number: int) -> bytes:
        """The frame that the message had, marked as a replay."""
        return message_frame(f"{self._epoch}-{number}", telemetry.device_id, telemetry.payload, replay=True)

    def event(self, name: str, data: Mapping[str, Any]) -> bytes:
        """A text frame."""
        return event_frame(name, data)

    def name_of(self, device_id: str) -> str | None:
        """Its id."""
        return device_id
