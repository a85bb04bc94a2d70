"""Tokens made and verified: what opens a share now, and for how many viewers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bridge.access.paseto import KeyRing
from bridge.core.errors import TokenError
from share.links.links import Links
from share.model.share import Share, Status
from share.stream.rooms import Room, Rooms, Viewer
from share.stream.tokens import Ticket, mint, verify


class Entrance:
    """Owned by the application, one per process."""

    def __init__(
        self,
        ring: KeyRing,
        rooms: Rooms,
        links: Links,
        *,
        clock: Callable[[], float],
        token_seconds: float,
        max_seconds: float,
        max_viewers: int,
    ) -> None:
        """``token_seconds`` is the life of our tokens, ``max_seconds`` the longest of one made elsewhere;
        ``max_viewers`` is the server's cap of streams for each share, 0 for none. ``clock`` is wall-clock."""
        self._ring = ring
        self._rooms = rooms
        self._links = links
        self._clock = clock
        self._token_seconds = token_seconds
        self._max_seconds = max_seconds
        self._max_viewers = max_viewers
        self.viewers = 0
        """Open streams of all shares."""

    def token_for(self, share: Share) -> tuple[str, float]:
        """A token for an open share, and when it expires: never later than the share ends."""
        now = self._clock()
        expires_at = min(now + self._token_seconds, share.ends_at)
        return mint(self._ring, share.id, expires_at=expires_at, now=now), expires_at

    def verify(self, token: str | None) -> Ticket:
        """What ``token`` opens now, and until when: no longer than its share goes on.

        TokenError as of ``tokens.verify``; ``share_closed`` when its share is not open.
        """
        now = self._clock()
        ticket = verify(self._ring, token, now=now, max_seconds=self._max_seconds)
        if ticket.share_id is not None:
            share = self._links.find_open(ticket.share_id)
            if share is None or share.status(now) is not Status.ACTIVE:
                raise TokenError("share_closed", "of a share that is not open")
            if share.ends_at < ticket.expires_at:  # it was shortened since
                return replace(ticket, expires_at=share.ends_at)
        return ticket

    def enter(self, ticket: Ticket, viewer: Viewer) -> Room:
        """Let ``viewer`` into the room of a verified ticket. TokenError ``too_many_viewers`` when it is full."""
        room = self._rooms.get(ticket.share_id) if ticket.share_id is not None else None
        if room is None:
            assert ticket.grant is not None
            room = self._rooms.of_grant(ticket.grant)
            if room is None:
                raise TokenError("too_many_viewers", "of tokens made elsewhere: too many different grants")
        if self.is_full(room):
            raise TokenError("too_many_viewers")
        self._rooms.enter(room, viewer)
        self.viewers += 1
        if ticket.share_id is not None:
            self._links.count_viewer(ticket.share_id)
        return room

    def is_full(self, room: Room) -> bool:
        """Whether the share has reached its viewer limit."""
        caps = [self._max_viewers or None, room.share.max_viewers if room.share else None]
        return any(cap is not None and len(room.viewers) >= cap for cap in caps)

    def leave(self, room: Room, viewer: Viewer) -> None:
        """``viewer``, which had entered, is gone."""
        self.viewers -= 1
        self._rooms.leave(room, viewer)
