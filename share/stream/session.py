"""The life of one public stream: an ordinary session with another credential and nothing to choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from aiohttp import web

from bridge.access.credentials import find_credential
from bridge.access.principal import Principal
from bridge.core.device_ids import Allowed
from bridge.core.errors import CommandError, TokenError
from bridge.core.limits import MAX_MESSAGE_BYTES
from bridge.protocol.closing import CloseReason
from bridge.protocol.commands import Authenticate, Command, Info, Ping
from bridge.protocol.frames import event_frame
from bridge.stream.command_handler import Dialogue, state
from bridge.stream.credential import Credential, expires_text, refusal_reason
from bridge.stream.endpoints import check_once, check_query
from bridge.stream.hub import Hub
from bridge.stream.session import Session
from share.stream.entry import Desk
from share.stream.public_json import share_data
from share.stream.rooms import Room
from share.stream.tokens import Ticket

ADVICE: Final = {
    "token_required": "present the token that `init` gave: ?token= or a subprotocol bearer.TOKEN",
    "token_invalid": "this is no share token of this server; ask `init` for one",
    "token_expired": "the token is over; ask `init` for the next one",
    "token_not_yet_valid": "the token is not valid yet; check the clocks",
    "share_closed": "the share has ended or was revoked; `init` tells which",
    "subject_changed": "a stream keeps its share; open a new one for another share",
    "too_many_viewers": "as many watch this share as may; try again later",
}
_QUERY: Final = frozenset({"token"})
_NOTHING: Final = Allowed(())


class ShareCredential(Credential):
    """A share token. The stream counts as a viewer of its room from the first success until ``drop``."""

    __slots__ = ("_desk", "_session", "room", "ticket")

    def __init__(self, hub: Hub, session: ShareSession, desk: Desk) -> None:
        super().__init__(hub, session)
        self._desk = desk
        self._session = session
        self.ticket: Ticket | None = None
        self.room: Room | None = None

    def _verify(self, token: str | None) -> Principal:
        ticket = self._desk.verify(token)
        if self.ticket is not None and ticket.key != self.ticket.key:
            raise TokenError("subject_changed")
        if self.room is None:
            self.room = self._desk.enter(ticket, self._session)
        self.ticket = ticket
        subject = f"share {ticket.share_id}" if ticket.share_id else "share token"
        return Principal(subject, ticket.expires_at, _NOTHING, scopes=frozenset())

    def drop(self) -> None:
        super().drop()
        if self.room is not None:
            self._desk.leave(self.room, self._session)
            self.room = None

    def end_by(self, ends_at: float) -> None:
        """End at ``ends_at`` (wall-clock) if the token lives longer."""
        principal = self.principal
        if principal is not None and principal.expires_at is not None and principal.expires_at > ends_at:
            self.accept(replace(principal, expires_at=ends_at))

    def data(self) -> dict[str, object]:
        if self.principal is None or self.room is None or self.ticket is None:
            return {"expires_at": None, "share": None}
        return {
            "expires_at": expires_text(self.principal),
            "share": share_data(self.room, self.ticket.expires_at, self.ticket.label),
        }


class ShareDialogue(Dialogue):
    """``authenticate`` with the next token of the same share, ``info`` and ``ping``."""

    __slots__ = ()
    advice: ClassVar[Mapping[str, str]] = ADVICE

    def _carry_out(self, command: Command) -> None:
        if not isinstance(command, Authenticate | Info | Ping):
            raise CommandError("not_available", "a share's stream takes authenticate, info and ping")
        super()._carry_out(command)

    def info(self) -> dict[str, object]:
        return state(self._session)

    def info_after(self, principal: Principal) -> dict[str, object]:
        return self.info()


class ShareSession(Session):
    """One viewer's WebSocket."""

    __slots__ = ("_desk", "_share_untold")
    credential: ShareCredential

    def __init__(self, hub: Hub, ip: str, desk: Desk) -> None:
        self._desk = desk
        self._share_untold = False
        super().__init__(hub, ip)

    def _make_credential(self) -> Credential:
        return ShareCredential(self.hub, self, self._desk)

    def _make_dialogue(self) -> Dialogue:
        return ShareDialogue(self)

    def greeting(self) -> Mapping[str, object]:
        return {
            "protocol": 1,
            "connection_id": self.connection_id,
            "heartbeat_seconds": self.hub.settings.heartbeat_seconds,
            "limits": {"message_bytes": MAX_MESSAGE_BYTES},
            **self.credential.data(),
        }

    def begin(self, token: str | None) -> None:
        """From the upgrade to the first position. TokenError when the token opens nothing."""
        principal = self.credential.verify(token)
        room = self.credential.room
        assert room is not None
        self.welcome(principal)
        self.hub.broker.join(self.subscription, room.channel)
        room.channel.show(self.subscription)
        self.hub.broker.pump(self.subscription)

    def tell_share(self) -> None:
        """The share was changed: say so, and end at its new end if that is sooner.

        One that takes no data is told with the first ping that it takes.
        """
        room = self.credential.room
        if room is None or room.share is None or self.ended:
            return
        self.credential.end_by(room.share.ends_at)
        self._share_untold = not self.takes_data
        if not self._share_untold:
            self.send(event_frame("share", share_data(room, room.share.ends_at)))

    def ping(self) -> None:
        if self._share_untold:
            self.tell_share()
        super().ping()


def begin(session: ShareSession, request: web.Request) -> None:
    """From the upgrade to the first position. A refusal is told and closes the socket.

    Cookies are not looked at: an operator who opens a share page has an access token there.
    """
    try:
        check_once(request.query)
        token = find_credential(request.headers, {}, request.query)
        check_query(request.query, _QUERY)
        session.begin(token)
    except TokenError as error:
        session.refuse(error.code, ADVICE[error.code], refusal_reason(error.code), str(error))
    except CommandError as error:
        session.refuse(error.code, error.message, CloseReason.SELECTION)
