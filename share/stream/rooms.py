"""Who watches which share: a room for each, with its channel and its open streams."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from bridge.core.times import Timer, timestamp
from bridge.fanout.broker import Broker
from bridge.fanout.history import LastKnown
from bridge.protocol.closing import CloseReason
from bridge.protocol.frames import event_frame
from share.model.grant import Grant
from share.model.share import EndReason, Share
from share.stream.channel import Channel

log = logging.getLogger("share.stream.rooms")


class Viewer(Protocol):
    """One open stream of a room."""

    def tell_share(self) -> None:
        """The share was changed: say so, and end at its new end if that is sooner."""

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        """Write ``frames`` and end the stream, whether its client reads or not."""


class Room:
    """One grant's channel and its viewers. ``share`` is None for tokens that another service has made."""

    __slots__ = ("_grant", "channel", "closing", "share", "viewers")

    def __init__(self, grant: Grant, channel: Channel, share: Share | None) -> None:
        self._grant = grant
        self.channel = channel
        self.share = share
        self.viewers: set[Viewer] = set()
        self.closing: Timer | None = None
        """Runs while a room of tokens made elsewhere is empty."""

    @property
    def grant(self) -> Grant:
        """What its viewers may see, as it is now."""
        return self.share.grant if self.share else self._grant

    @property
    def key(self) -> str | Grant:
        """What the room is found by."""
        return self.share.id if self.share else self._grant


class Arrivals(Protocol):
    """Hears from a room that its share has reached its destination."""

    def arrived(self, share_id: str) -> None:
        """Every device of the share has been shown at its destination."""


class Rooms:
    """All rooms of one process. A stored share has its room while it is open; tokens made elsewhere have one for each
    grant while it is watched, and for a while after: who comes back finds trail and delayed positions as they were."""

    def __init__(
        self,
        broker: Broker,
        history: LastKnown,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
        max_elsewhere: int,
        linger_seconds: float,
    ) -> None:
        """``clock`` is wall-clock; ``call_later`` is the loop's.

        At most ``max_elsewhere`` rooms of tokens made elsewhere, each of which stays ``linger_seconds`` after its last
        viewer, or as long as its delay if that is longer.
        """
        self._broker = broker
        self._history = history
        self._clock = clock
        self._monotonic = monotonic
        self._call_later = call_later
        self._max_elsewhere = max_elsewhere
        self._linger_seconds = linger_seconds
        self._rooms: dict[str | Grant, Room] = {}
        self._elsewhere: dict[Grant, Room] = {}
        self.arrivals: Arrivals | None = None
        """Set once, before the first share is opened."""

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, share_id: str) -> Room | None:
        """The room of an open share."""
        return self._rooms.get(share_id)

    def of_grant(self, grant: Grant) -> Room | None:
        """The room of tokens that another service has made with ``grant``; None when there are too many such rooms."""
        room = self._rooms.get(grant)
        if room is None:
            if len(self._elsewhere) >= self._max_elsewhere and not self._make_place():
                return None
            room = self._elsewhere[grant] = self._open(grant, None)
        return room

    def _make_place(self) -> bool:
        """Close the room made elsewhere that is empty and was opened first; False when all are watched."""
        for room in self._elsewhere.values():
            if not room.viewers:
                self._close(room)
                return True
        return False

    def enter(self, room: Room, viewer: Viewer) -> None:
        """``viewer`` is there from now on."""
        if room.closing is not None:
            room.closing.cancel()
            room.closing = None
        room.viewers.add(viewer)
        room.channel.watched = True

    def leave(self, room: Room, viewer: Viewer) -> None:
        """``viewer``, whose subscription the broker has forgotten, is gone."""
        room.viewers.discard(viewer)
        room.channel.watched = bool(room.viewers)
        if room.share is None and not room.viewers:
            linger = max(room.grant.delay_s, self._linger_seconds)
            room.closing = self._call_later(linger, lambda: self._close(room))

    def viewers(self, share_id: str) -> int:
        """Open streams of a share."""
        room = self._rooms.get(share_id)
        return len(room.viewers) if room else 0

    # --- Audience of the links ----------------------------------------------------------------------------

    def opened(self, share: Share) -> None:
        """From now on there is something to watch."""
        self._open(share.grant, share)

    def changed(self, before: Share, after: Share) -> None:
        """Tell the viewers what concerns them. All but the aliases of a grant stays as it was."""
        room = self._rooms[after.id]
        room.share = after
        room.channel.rename(dict(after.grant.aliases))
        if (before.label, before.ends_at, before.grant) != (after.label, after.ends_at, after.grant):
            _each(room.viewers, lambda viewer: viewer.tell_share())

    def closed(self, share: Share, reason: EndReason | None) -> None:
        """End every stream of ``share``, the stalled ones too; None when it has expired."""
        room = self._rooms.get(share.id)
        if room is None:
            return
        self._close(room)  # first: whatever is wrong with a viewer's socket, nothing more is shown to anyone
        if reason is EndReason.REVOKED:
            frame, close_reason = event_frame("revoked", {}), CloseReason.REVOKED
        else:
            data = {"expires_at": timestamp(share.ended_at or share.ends_at)}
            frame = event_frame("expired", {**data, "reason": reason.value} if reason else data)
            close_reason = CloseReason.EXPIRED
        _each(room.viewers, lambda viewer: viewer.expire(frame, reason=close_reason))

    # --- channels -----------------------------------------------------------------------------------------

    def _open(self, grant: Grant, share: Share | None) -> Room:
        def arrived() -> None:
            if share is not None and self.arrivals is not None:
                self.arrivals.arrived(share.id)

        channel = Channel(grant, call_later=self._call_later, turn=self._broker.render, on_arrival=arrived)
        room = Room(grant, channel, share)
        self._rooms[room.key] = room
        self._broker.keep(channel.selection)
        # Of monotonic, by the clock as it is set now: it may have been wrong then.
        zero = self._clock() - self._monotonic()
        for device_id in grant.device_ids:
            for known in self._history.of(device_id):
                channel.take(known.message, zero + known.received_monotonic, known.received_monotonic)
        self._broker.render(channel.selection)
        return room

    def _close(self, room: Room) -> None:
        del self._rooms[room.key]
        if room.share is None:
            self._elsewhere.pop(room.grant, None)
        if room.closing is not None:
            room.closing.cancel()
        room.channel.close()
        self._broker.release(room.channel.selection)


def _each(viewers: Iterable[Viewer], tell: Callable[[Viewer], None]) -> None:
    """Tell each of them, whatever becomes of the others: that one socket is broken must not keep a share open."""
    for viewer in list(viewers):
        try:
            tell(viewer)
        except Exception:
            log.exception("Notifying a viewer failed: a bug, please report it")
