"""The stream of a fleet's watcher: who may open it, what it may ask for, and what it hears about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.access.admission import Admission
from bridge.access.advice import TOKEN_ADVICE
from bridge.access.authenticator import Authenticator
from bridge.access.claims import SCOPES
from bridge.access.principal import Principal
from bridge.core.device_ids import EVERYTHING, Allowed, Groups
from bridge.core.errors import CommandError, TokenError
from bridge.core.limits import COMMANDS_PER_SECOND, MAX_MESSAGE_BYTES
from bridge.fanout.broker import Broker
from bridge.fanout.rendering import PayloadRenderer
from bridge.protocol.commands import Command, Subscribe, Unsubscribe
from bridge.protocol.frames import event_frame
from bridge.stream.credential import expires_text
from bridge.stream.selection import DeviceSelection
from bridge.stream.session import Session
from bridge.stream.settings import StreamSettings

SCOPE: Final = "stream"


@dataclass(frozen=True, slots=True)
class Watching:
    """What all watchers of one process have in common."""

    broker: Broker
    renderer: PayloadRenderer
    authenticator: Authenticator | None
    """None under AUTH=off."""
    admission: Admission
    groups: Groups
    clock: Callable[[], float]
    settings: StreamSettings

    def verify(self, token: str | None) -> Principal:
        """The holder of ``token`` now. TokenError as of ``Authenticator.verify``. Under AUTH=off it is anyone."""
        if self.authenticator is not None:
            return self.authenticator.verify(token, self.clock())
        return Principal("anonymous", None, Allowed([EVERYTHING]), (EVERYTHING,), frozenset(self.groups), SCOPES)


class Watcher:
    """One stream's role, see ``stream.role``. It counts for its subject from the first good token until it ends."""

    __slots__ = ("_counted", "_session", "_watching", "selection")
    advice: Mapping[str, str] = TOKEN_ADVICE

    def __init__(self, watching: Watching, session: Session) -> None:
        self._watching = watching
        self._session = session
        self._counted: str | None = None
        self.selection = DeviceSelection(
            watching.broker,
            session.subscription,
            watching.renderer,
            watching.groups,
            watching.settings.max_device_ids,
        )

    def begin(self, principal: Principal, device_ids: Sequence[str], groups: Sequence[str], snapshot: bool) -> None:
        """Say hello and begin with a selection from the URL. CommandError when it is none."""
        session = self._session
        session.credential.principal = principal  # so that a refusal, too, is logged with whose it was
        change = self.selection.add(principal, device_ids, groups)
        if change.refused and not change.device_ids and not change.groups:
            raise CommandError("not_allowed", "the token allows none of these devices")
        session.welcome(principal)
        session.send(event_frame("subscribed", change.data()))
        if snapshot:
            session.socket.uncork()
            self.selection.snapshot(change)

    @property
    def needs_token(self) -> bool:
        """Whether the stream has to wait for one."""
        return self._watching.authenticator is not None

    def verify(self, token: str | None) -> Principal:
        """The principal of ``token``, fit for this stream. TokenError says why not; then nothing has changed.

        Beside the codes of ``Authenticator.verify``: ``scope_missing``, ``subject_changed``, ``too_many_connections``.
        """
        principal = self._watching.verify(token)
        if not self.needs_token:
            return principal
        subject, current = principal.subject, self._session.credential.principal
        if SCOPE not in principal.scopes:
            raise TokenError("scope_missing", f"of {subject!r}")
        if current is not None and current.subject != subject:
            raise TokenError("subject_changed", f"to {subject!r}")
        if self._counted is None:
            if not self._watching.admission.admit_principal(subject):
                raise TokenError("too_many_connections", f"of {subject!r}")
            self._counted = subject
        return principal

    def ended(self) -> None:
        """The stream counts no more."""
        if self._counted is not None:
            self._watching.admission.release_principal(self._counted)
            self._counted = None

    def greeting(self) -> dict[str, object]:
        """The role's part of ``hello``."""
        settings = self._watching.settings
        return {
            "overflow": self._session.overflow,
            "limits": {
                "device_ids": settings.max_device_ids,
                "message_bytes": MAX_MESSAGE_BYTES,
                "commands_per_second": COMMANDS_PER_SECOND,
                "queue_messages": settings.queue_messages,
                "queue_bytes": settings.queue_bytes,
            },
        }

    def credential_data(self) -> dict[str, object]:
        """What the client hears about its credential."""
        principal = self._session.credential.principal
        if principal is None:
            return {"expires_at": None, "principal": None}
        return {
            "expires_at": expires_text(principal),
            "principal": {
                "subject": principal.subject,
                "devices": principal.devices,
                "groups": sorted(principal.groups),
                "scopes": sorted(principal.scopes),
            },
        }

    def info(self) -> dict[str, object]:
        """The role's part of ``info``."""
        return self.selection.data()

    def refreshed(self, principal: Principal) -> dict[str, object]:
        """The token was exchanged: what the new one takes away."""
        return {"refused": self.selection.restrict(principal)}

    def carry_out(self, command: Command) -> None:
        """``subscribe`` and ``unsubscribe``. CommandError when they cannot be carried out."""
        session, selection = self._session, self.selection
        match command:
            case Subscribe(data=data):
                principal = session.credential.principal
                if principal is None:
                    raise CommandError("not_authenticated", "send the authenticate command with a token first")
                change = selection.add(principal, data.device_ids, data.groups)
                session.send(event_frame("subscribed", change.data(), command.ref))
                if data.snapshot:
                    selection.snapshot(change)
            case Unsubscribe(data=data):
                change = selection.remove(data.device_ids, data.groups)
                session.send(event_frame("unsubscribed", change.data(), command.ref))

    def catch_up(self) -> None:
        """Nothing waits to be said."""
