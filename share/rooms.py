"""Who watches which share: a room for each, with its channel and its open streams."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from bridge.closing import CloseReason
from bridge.encoding import event_frame, timestamp
from bridge.hub import Hub
from share.channel import Channel, Read
from share.grant import Grant
from share.record import EndReason, Share


class Viewer(Protocol):
    """One open stream of a room."""

    def tell_share(self) -> None:
        """The share was changed: say so, and end at its new end if that is sooner."""

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None: ...


class Room:
    """One grant's channel and its viewers. ``share`` is None for a token that another service has made."""

    __slots__ = ("channel", "grant", "key", "label", "share", "viewers")

    def __init__(self, key: Hashable, grant: Grant, channel: Channel, share: Share | None, label: str) -> None:
        self.key = key
        self.grant = grant
        self.channel = channel
        self.share = share
        self.label = label
        self.viewers: set[Viewer] = set()


class Arrivals(Protocol):
    """Whom a room tells that its share has come to its destination."""

    def arrived(self, share_id: str) -> None: ...


class Rooms:
    """All rooms of one process. A stored share has its room while it is open; another's token while it is watched."""

    def __init__(self, hub: Hub, read: Read) -> None:
        self._hub = hub
        self._read = read
        self._rooms: dict[Hashable, Room] = {}
        self.arrivals: Arrivals | None = None
        """Set once, before the first share is opened."""

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, share_id: str) -> Room | None:
        """The room of an open share."""
        return self._rooms.get(share_id)

    def of_grant(self, grant: Grant, label: str) -> Room:
        """The room of tokens that another service has made; it is there from now on until its last viewer leaves."""
        key = (grant, label)
        return self._rooms.get(key) or self._open(key, grant, None, label)

    def leave(self, room: Room, viewer: Viewer) -> None:
        """``viewer``, whose subscription the broker has forgotten, is gone."""
        room.viewers.discard(viewer)
        if room.share is None and not room.viewers:
            self._close(room)

    def viewers(self, share_id: str) -> int:
        """Open streams of a share."""
        room = self._rooms.get(share_id)
        return len(room.viewers) if room else 0

    # --- Audience of the links ----------------------------------------------------------------------------

    def opened(self, share: Share) -> None:
        """From now on there is something to watch."""
        self._open(share.id, share.grant, share, share.label)

    def changed(self, before: Share, after: Share) -> None:
        """Tell the viewers what concerns them. All but the aliases of a grant stays as it was."""
        room = self._rooms[after.id]
        room.share, room.grant, room.label = after, after.grant, after.label
        room.channel.rename(dict(after.grant.aliases))
        if (before.label, before.ends_at, before.grant) != (after.label, after.ends_at, after.grant):
            for viewer in list(room.viewers):
                viewer.tell_share()

    def closed(self, share: Share, reason: EndReason | None) -> None:
        """End every stream of ``share``, the stalled ones too; None when its time is over."""
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
        failure: Exception | None = None
        for viewer in list(room.viewers):
            try:
                viewer.expire(frame, reason=close_reason)
            except Exception as error:  # uvloop's transports may raise, see Cohort.flush: the others end all the same
                failure = error
        if failure is not None:
            raise failure

    # --- channels -----------------------------------------------------------------------------------------

    def _open(self, key: Hashable, grant: Grant, share: Share | None, label: str) -> Room:
        hub = self._hub

        def arrived() -> None:
            if share is not None and self.arrivals is not None:
                self.arrivals.arrived(share.id)

        channel = Channel(grant, self._read, call_later=hub.call_later, deliver=hub.broker.deliver, on_arrival=arrived)
        room = self._rooms[key] = Room(key, grant, channel, share, label)
        hub.broker.attach(channel)
        for device_id in grant.device_ids:
            for _, message in hub.history.of(device_id):
                # When it was received is not remembered: like of a retained one, only its own time tells.
                channel.take(message._replace(retained=True), hub.clock(), hub.monotonic())
        hub.broker.deliver(channel)
        return room

    def _close(self, room: Room) -> None:
        del self._rooms[room.key]
        room.channel.close()
        self._hub.broker.detach(room.channel)
