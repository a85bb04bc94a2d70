"""Where tokens are made and looked at: what opens a share now, and for how many."""

from __future__ import annotations

from dataclasses import replace

from bridge.access.paseto import KeyRing
from bridge.core.errors import TokenError
from bridge.stream.hub import Hub
from share.links.links import Links
from share.model.limits import DAY_SECONDS
from share.model.share import Share, Status
from share.stream.rooms import Room, Rooms, Viewer
from share.stream.tokens import Ticket, mint, verify


class Desk:
    """Owned by the application, one per process."""

    def __init__(self, hub: Hub, ring: KeyRing, rooms: Rooms, links: Links) -> None:
        self._hub = hub
        self._ring = ring
        self._rooms = rooms
        self._links = links
        self.viewers = 0
        """Open streams of all shares."""

    def token_for(self, share: Share) -> tuple[str, float]:
        """A token for an open share, and when it expires: never later than the share ends."""
        now = self._hub.clock()
        expires_at = min(now + self._hub.settings.share_token_seconds, share.ends_at)
        return mint(self._ring, share.id, expires_at=expires_at, now=now), expires_at

    def verify(self, token: str | None) -> Ticket:
        """What ``token`` opens now, and until when: no longer than its share goes on.

        TokenError as of ``tokens.verify``; ``share_closed`` when its share is not open.
        """
        now = self._hub.clock()
        ticket = verify(self._ring, token, now=now, max_seconds=self._hub.settings.share_max_days * DAY_SECONDS)
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
        """Whether as many watch as may."""
        caps = [self._hub.settings.max_connections_per_share or None, room.share.max_viewers if room.share else None]
        return any(cap is not None and len(room.viewers) >= cap for cap in caps)

    def leave(self, room: Room, viewer: Viewer) -> None:
        """``viewer``, which had entered, is gone."""
        self.viewers -= 1
        self._rooms.leave(room, viewer)
