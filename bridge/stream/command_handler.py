"""What a client says on its socket, and what it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bridge.access.principal import Principal
from bridge.core.errors import CommandError, TokenError
from bridge.core.limits import COMMANDS_BURST, COMMANDS_PER_SECOND, MAX_RATE_LIMITED
from bridge.core.rates import TokenBucket
from bridge.protocol.closing import CloseReason
from bridge.protocol.commands import Authenticate, Command, Info, Ping, parse_command, ref_of
from bridge.protocol.frames import error_frame, event_frame, pong_frame
from bridge.protocol.receiving import Event, Opcode
from bridge.stream.credential import Credential, refusal_reason
from bridge.stream.role import Role


class Client(Protocol):
    """The stream whose commands are handled (``session``)."""

    @property
    def role(self) -> Role:
        """What streams of its kind do differently."""

    @property
    def credential(self) -> Credential:
        """Who it is."""

    @property
    def takes_data(self) -> bool:
        """Whether it reads what it is sent."""

    @property
    def ended(self) -> bool:
        """Whether its end has begun."""

    def verify(self, token: str | None) -> Principal:
        """The principal of ``token``, or TokenError."""

    def authenticated(self) -> None:
        """A valid token came."""

    def state(self) -> dict[str, object]:
        """The ``data`` of ``info``."""

    def send(self, frame: bytes) -> None:
        """Write a frame."""

    def close(self, reason: CloseReason, *frames: bytes) -> None:
        """End it."""


class CommandHandler:
    """One client's commands, at a bounded rate. A bad command is answered and never closes the socket."""

    __slots__ = ("_bucket", "_limited", "_monotonic", "_session")

    def __init__(self, session: Client, monotonic: Callable[[], float]) -> None:
        self._session = session
        self._monotonic = monotonic
        self._bucket: TokenBucket | None = None  # most clients never say a word
        self._limited = 0

    def handle(self, event: Event) -> None:
        """Carry out a text message, or answer a ping or a binary message."""
        session = self._session
        if not self._within_rate():
            return
        if event.opcode is Opcode.PING:
            session.send(pong_frame(event.payload))
        elif event.opcode is Opcode.BINARY:
            session.send(error_frame("binary_not_supported", "send commands as text frames that hold JSON"))
        else:
            self._handle_text(event.text)

    def _handle_text(self, text: str) -> None:
        session = self._session
        try:
            command = parse_command(text)
        except CommandError as error:
            session.send(error_frame(error.code, error.message, ref_of(text)))
            return
        try:
            self._carry_out(command)
        except CommandError as error:
            session.send(error_frame(error.code, error.message, command.ref))

    def _within_rate(self) -> bool:
        session, now = self._session, self._monotonic()
        if self._bucket is None:
            self._bucket = TokenBucket(COMMANDS_PER_SECOND, COMMANDS_BURST, now)
        if self._bucket.take(now):
            return True
        self._limited += 1
        if self._limited > MAX_RATE_LIMITED:
            session.close(CloseReason.OVERLOADED)
        elif session.takes_data:
            session.send(error_frame("rate_limited", f"send at most {COMMANDS_PER_SECOND:g} messages per second"))
        return False

    def _carry_out(self, command: Command) -> None:
        session = self._session
        match command:
            case Ping():
                session.send(event_frame("pong", {}, command.ref))
            case Info():
                session.send(event_frame("info", session.state(), command.ref))
            case Authenticate():
                self._authenticate(command)
            case _:
                session.role.carry_out(command)

    def _authenticate(self, command: Authenticate) -> None:
        """The first token, or a new one for the same subject. A bad first one ends the stream."""
        session, role = self._session, self._session.role
        try:
            principal = session.verify(command.data.token.get_secret_value())
        except TokenError as error:
            if session.credential.principal is not None:
                raise CommandError(error.code, role.advice[error.code]) from None
            session.close(refusal_reason(error.code), error_frame(error.code, role.advice[error.code], command.ref))
            return
        session.authenticated()
        session.credential.accept(principal)
        taken_away = role.refreshed(principal)
        session.send(event_frame("info", {**session.state(), **taken_away}, command.ref))
