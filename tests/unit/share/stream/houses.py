"""All rooms of a process, and who watches in them."""

from __future__ import annotations

from typing import Any, Final

from bridge.protocol.closing import CloseReason
from share.model.grant import Grant
from share.model.share import Share
from share.stream.rooms import Room, Rooms
from tests.fakes import events_in
from tests.unit.share.stream.channels import NOW, ONE, Case

LINGER_SECONDS: Final = 60.0
"""How long an empty room of tokens made elsewhere stays."""


class Watcher:
    """A viewer as far as its room knows it: what it was told, and how it ended."""

    def __init__(self, house: House, room: Room, *, forgets: bool = True) -> None:
        self.house = house
        self.room = room
        self.forgets = forgets
        self.told = 0
        self.ends: list[tuple[dict[str, Any], CloseReason]] = []
        house.rooms.enter(room, self)
        self.subscription, self.transport = house.join(room.channel)

    def tell_share(self) -> None:
        self.told += 1

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        (data,) = events_in(b"".join(frames))
        self.ends.append((data, reason))
        if self.forgets:
            self.house.broker.forget(self.subscription)

    def leave(self) -> None:
        self.house.broker.forget(self.subscription)
        self.house.rooms.leave(self.room, self)


class House(Case):
    """All rooms of a process."""

    def __init__(self, max_elsewhere: int = 1000) -> None:
        super().__init__()
        self.rooms = Rooms(
            self.broker, self.history, clock=self.clock, monotonic=self.monotonic, call_later=self.timers,
            max_elsewhere=max_elsewhere, linger_seconds=LINGER_SECONDS,
        )  # fmt: skip
        self.told: list[str] = []
        self.rooms.arrivals = self

    def arrived(self, share_id: str) -> None:
        self.told.append(share_id)

    def share(self, share_id: str = "s1", **terms: Any) -> tuple[Share, Room]:
        """An open share and its room."""
        grant = Grant(**{"aliases": ONE, "starts_at": NOW, **terms})
        share = Share(share_id, "hash", "ana", NOW, NOW, NOW + 3600, grant, "Tour")
        self.rooms.opened(share)
        room = self.rooms.get(share_id)
        assert room is not None
        return share, room

    def elsewhere(self, grant: Grant) -> Room:
        """The room of a token that another service has made."""
        room = self.rooms.of_grant(grant)
        assert room is not None
        return room
