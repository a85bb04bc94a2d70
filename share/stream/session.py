"""A share's stream: opened by a share token, with nothing to choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bridge.access.principal import Principal
from bridge.core.device_ids import Allowed
from bridge.core.errors import CommandError, TokenError
from bridge.core.limits import MAX_MESSAGE_BYTES
from bridge.protocol.closing import CloseReason
from bridge.protocol.commands import Command
from bridge.protocol.frames import event_frame
from bridge.stream.credential import expires_text
from bridge.stream.session import Session
from share.stream.entry import Entrance
from share.stream.public_json import share_data
from share.stream.rooms import Room
from share.stream.tokens import Ticket

ADVICE: Final = {
    "token_required": "present the token that `init` gave: ?token= or a subprotocol bearer.TOKEN",
    "token_invalid": "not a share token of this server; ask `init` for one",
    "token_expired": "the token has expired; ask `init` for the next one",
    "token_not_yet_valid": "the token is not valid yet; check the clocks",
    "share_closed": "the share has ended or was revoked; `init` says which",
    "subject_changed": "a stream keeps its share; open a new one for another share",
    "too_many_viewers": "this share has reached its viewer limit; try again later",
}
_NOTHING: Final = Allowed(())


class ShareViewer:
    """One viewer's role, see ``stream.role``. It counts as a viewer of its room from the first good token until it
    ends. A stream takes ``authenticate`` with the next token of the same share, ``info`` and ``ping``."""

    __slots__ = ("_entrance", "_session", "_ticket", "_untold", "room")
    advice: Mapping[str, str] = ADVICE

    def __init__(self, entrance: Entrance, session: Session) -> None:
        self._entrance = entrance
        self._session = session
        self._ticket: Ticket | None = None
        self._untold = False
        self.room: Room | None = None

    def begin(self, token: str | None) -> None:
        """From the upgrade to the first position. TokenError when the token opens nothing."""
        session = self._session
        principal = session.verify(token)
        assert self.room is not None
        channel = self.room.channel
        session.welcome(principal)
        session.socket.uncork()
        session.around.broker.select(session.subscription, channel.selection)
        session.subscription.show(channel.known())
        session.around.broker.pump(session.subscription)

    def verify(self, token: str | None) -> Principal:
        """Who a share token makes its holder. TokenError as of ``Entrance.verify`` and ``enter``, or
        ``subject_changed`` for the token of another share."""
        ticket = self._entrance.verify(token)
        if self._ticket is not None and ticket.key != self._ticket.key:
            raise TokenError("subject_changed")
        if self.room is None:
            self.room = self._entrance.enter(ticket, self)
        self._ticket = ticket
        subject = f"share {ticket.share_id}" if ticket.share_id else "share token"
        return Principal(subject, ticket.expires_at, _NOTHING, scopes=frozenset())

    def ended(self) -> None:
        """The stream has ended: the viewer leaves its room."""
        if self.room is not None:
            self._entrance.leave(self.room, self)
            self.room = None

    def greeting(self) -> dict[str, object]:
        """The role's part of ``hello``."""
        return {"limits": {"message_bytes": MAX_MESSAGE_BYTES}}

    def credential_data(self) -> dict[str, object]:
        """What the client hears about its token, and what the token opens."""
        principal = self._session.credential.principal
        if principal is None or self.room is None or self._ticket is None:
            return {"expires_at": None, "share": None}
        return {
            "expires_at": expires_text(principal),
            "share": share_data(self.room, self._ticket.expires_at, self._ticket.label),
        }

    def info(self) -> dict[str, object]:
        """Nothing beside what every stream tells."""
        return {}

    def refreshed(self, principal: Principal) -> dict[str, object]:
        """The next token of the same share takes nothing away."""
        return {}

    def carry_out(self, command: Command) -> None:
        """No other command: CommandError."""
        raise CommandError("not_available", "a share's stream takes authenticate, info and ping")

    def catch_up(self) -> None:
        """Tell of a change that the client did not take before."""
        if self._untold:
            self.tell_share()

    # --- Viewer of the room -------------------------------------------------------------------------------

    def tell_share(self) -> None:
        """The share was changed: say so, and end at its new end if that is sooner.

        One that takes no data hears of it before the first ping that it takes.
        """
        room, session = self.room, self._session
        if room is None or room.share is None or session.ended:
            return
        principal, ends_at = session.credential.principal, room.share.ends_at
        if principal is not None and principal.expires_at is not None and principal.expires_at > ends_at:
            session.credential.accept(replace(principal, expires_at=ends_at))
        self._untold = not session.takes_data
        if not self._untold:
            session.send(event_frame("share", share_data(room, ends_at)))

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        """The share has ended."""
        self._session.expire(*frames, reason=reason)
