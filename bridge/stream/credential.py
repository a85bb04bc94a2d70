"""The credential of one stream: verified, exchanged, and at its end exactly when it expires."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from bridge.access.principal import Principal
from bridge.core.errors import TokenError
from bridge.core.limits import EXPIRING_SECONDS
from bridge.core.times import timestamp
from bridge.protocol.closing import CloseReason
from bridge.protocol.frames import event_frame
from bridge.stream.deadlines import Deadlines


def refusal_reason(code: str) -> CloseReason:
    """How a stream ends whose first credential was refused with ``code``. Too many streams may be fewer later."""
    return CloseReason.OVERLOADED if code.startswith("too_many_") else CloseReason.CREDENTIAL


def expires_text(principal: Principal) -> str | None:
    """When the credential ends, as clients see it."""
    return None if principal.expires_at is None else timestamp(principal.expires_at)


class Holder(Hashable, Protocol):
    """The stream that holds the credential."""

    def send(self, frame: bytes) -> None:
        """Write a frame."""

    def expire(self, *frames: bytes) -> None:
        """Write ``frames`` and end."""


class Credential:
    """At most one principal at a time; its deadline is always set, and gone when the stream is."""

    __slots__ = ("_clock", "_deadlines", "_holder", "principal", "refused")

    def __init__(self, holder: Holder, deadlines: Deadlines, clock: Callable[[], float]) -> None:
        """``clock`` is wall-clock."""
        self._holder = holder
        self._deadlines = deadlines
        self._clock = clock
        self.principal: Principal | None = None
        self.refused = ""
        """Why the last token was not accepted: code and detail, for the log."""

    @property
    def name(self) -> str:
        """Whose stream it is, for the log."""
        return repr(self.principal.subject) if self.principal else "nobody"

    def verified(self, verify: Callable[[str | None], Principal], token: str | None) -> Principal:
        """What ``verify`` makes of ``token``. TokenError says why not, and is remembered for the log."""
        try:
            return verify(token)
        except TokenError as error:
            self.refused = str(error)
            raise

    def accept(self, principal: Principal) -> None:
        """From now on the stream is ``principal``'s (verified), until it expires."""
        self.principal = principal
        if principal.expires_at is not None:
            self._deadlines.set(self._holder, principal.expires_at - EXPIRING_SECONDS, self._expiring)

    def drop(self) -> None:
        """The stream has ended."""
        self._deadlines.discard(self._holder)

    def _expiring(self) -> None:
        principal = self.principal
        assert principal is not None and principal.expires_at is not None
        self._deadlines.set(self._holder, principal.expires_at, self._expired)
        if self._clock() < principal.expires_at:
            self._holder.send(event_frame("expiring", {"expires_at": expires_text(principal)}))

    def _expired(self) -> None:
        principal = self.principal
        assert principal is not None
        self._holder.expire(event_frame("expired", {"expires_at": expires_text(principal)}))
