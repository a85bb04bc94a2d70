"""The credential of one stream: verified, exchanged, counted, and over on time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Protocol

from bridge.access.principal import Principal
from bridge.core.errors import TokenError
from bridge.core.limits import EXPIRING_SECONDS
from bridge.core.times import timestamp
from bridge.protocol.closing import CloseReason
from bridge.protocol.frames import event_frame
from bridge.stream.hub import Hub

SCOPE: Final = "stream"
TOKEN_ADVICE: Final = {
    "token_required": "present an access token: Authorization header, subprotocol, cookie, ?token= or authenticate",
    "token_invalid": "this is not a token of this server; get a new one",
    "token_expired": "the token is over; get a new one",
    "token_not_yet_valid": "the token is not valid yet; check the clocks",
    "scope_missing": "the token lacks the scope `stream`",
    "subject_changed": "a socket keeps its subject; open a new connection for another one",
    "too_many_connections": "too many streams of this subject; close some",
}


def refusal_reason(code: str) -> CloseReason:
    """How a stream ends whose first credential was refused with ``code``. Too many streams may be fewer later."""
    return CloseReason.OVERLOADED if code.startswith("too_many_") else CloseReason.CREDENTIAL


def expires_text(principal: Principal) -> str | None:
    """When the credential ends, as clients are told."""
    return None if principal.expires_at is None else timestamp(principal.expires_at)


class Holder(Hashable, Protocol):
    """The stream that holds the credential."""

    def send(self, frame: bytes) -> None: ...
    def expire(self, *frames: bytes) -> None: ...


class Credential:
    """At most one principal at a time; its deadline is always set, and gone when the stream is."""

    __slots__ = ("_counted", "_holder", "_hub", "principal", "refused")

    def __init__(self, hub: Hub, holder: Holder) -> None:
        self._hub = hub
        self._holder = holder
        self._counted: str | None = None
        self.principal: Principal | None = None
        self.refused = ""
        """Why the last token was not accepted: code and detail, for the log."""

    @property
    def name(self) -> str:
        """Whose stream it is, for the log."""
        return repr(self.principal.subject) if self.principal else "nobody"

    def verify(self, token: str | None) -> Principal:
        """The principal of ``token``, fit for this stream. TokenError says why not; then nothing changed.

        Beside the codes of ``Authenticator.verify``: ``scope_missing``, ``subject_changed``,
        ``too_many_connections``. A stream counts for its subject from the first success until ``drop``.
        """
        try:
            return self._verify(token)
        except TokenError as error:
            self.refused = str(error)
            raise

    def _verify(self, token: str | None) -> Principal:
        if self._hub.authenticator is None:
            return self._hub.anonymous()
        principal = self._hub.authenticator.verify(token, self._hub.clock())
        self._check(principal)
        return principal

    def _check(self, principal: Principal) -> None:
        subject = principal.subject
        if SCOPE not in principal.scopes:
            raise TokenError("scope_missing", f"of {subject!r}")
        if self.principal is not None and self.principal.subject != subject:
            raise TokenError("subject_changed", f"to {subject!r}")
        if self._counted is None:
            if not self._hub.admission.admit_principal(subject):
                raise TokenError("too_many_connections", f"of {subject!r}")
            self._counted = subject

    def accept(self, principal: Principal) -> None:
        """From now on the stream is ``principal``'s (verified), until it expires."""
        self.principal = principal
        if principal.expires_at is not None:
            self._hub.deadlines.set(self._holder, principal.expires_at - EXPIRING_SECONDS, self._expiring)

    def drop(self) -> None:
        """The stream is over."""
        self._hub.deadlines.discard(self._holder)
        if self._counted is not None:
            self._hub.admission.release_principal(self._counted)
            self._counted = None

    def data(self) -> dict[str, object]:
        """What the client is told about itself."""
        principal = self.principal
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

    def _expiring(self) -> None:
        principal = self.principal
        assert principal is not None and principal.expires_at is not None
        self._hub.deadlines.set(self._holder, principal.expires_at, self._expired)
        if self._hub.clock() < principal.expires_at:
            self._holder.send(event_frame("expiring", {"expires_at": expires_text(principal)}))

    def _expired(self) -> None:
        principal = self.principal
        assert principal is not None
        self._holder.expire(event_frame("expired", {"expires_at": expires_text(principal)}))
