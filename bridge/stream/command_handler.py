"""What a client says on its socket, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from aiohttp import WSMsgType

from bridge.access.principal import Principal
from bridge.core.errors import CommandError, TokenError
from bridge.core.limits import COMMANDS_BURST, COMMANDS_PER_SECOND, MAX_MESSAGE_BYTES, MAX_RATE_LIMITED
from bridge.core.rates import TokenBucket
from bridge.fanout.outbox import Policy
from bridge.fanout.subscription import Subscription
from bridge.protocol.closing import CloseReason
from bridge.protocol.commands import Authenticate, Command, Info, Ping, Subscribe, Unsubscribe, parse_command, ref_of
from bridge.protocol.frames import error_frame, event_frame, pong_frame
from bridge.stream.credential import TOKEN_ADVICE, Credential, refusal_reason
from bridge.stream.hub import Hub
from bridge.stream.selection import Viewing


class Client(Protocol):
    """What the dialogue needs of the stream that it speaks for (``session``)."""

    hub: Hub
    connection_id: str
    opened_at: float
    overflow: Policy
    subscription: Subscription
    viewing: Viewing

    @property
    def credential(self) -> Credential: ...
    @property
    def takes_data(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    def send(self, frame: bytes) -> None: ...
    def close(self, reason: CloseReason, *frames: bytes) -> None: ...
    def authenticated(self) -> None: ...


class Dialogue:
    """One client's commands, at a bounded rate. A bad command is answered and never closes the socket."""

    __slots__ = ("_bucket", "_limited", "_session")
    advice: ClassVar[Mapping[str, str]] = TOKEN_ADVICE
    """What the client is told for each code of a TokenError."""

    def __init__(self, session: Client) -> None:
        self._session = session
        self._bucket: TokenBucket | None = None  # most clients never say a word
        self._limited = 0

    def handle(self, kind: WSMsgType, data: str | bytes) -> None:
        """Carry out one message of the client, of type TEXT, BINARY or PING, and answer it."""
        session = self._session
        session.hub.deadlines.enforce()  # the loop may be late, or the clock may have been set
        if session.ended or not self._within_rate():
            return
        if not isinstance(data, str):
            if kind is WSMsgType.PING:
                session.send(pong_frame(bytes(data)))
            else:
                session.send(error_frame("binary_not_supported", "send commands as text frames that hold JSON"))
            return
        try:
            command = parse_command(data)
        except CommandError as error:
            session.send(error_frame(error.code, error.message, ref_of(data)))
            return
        try:
            self._carry_out(command)
        except CommandError as error:
            session.send(error_frame(error.code, error.message, command.ref))

    def _within_rate(self) -> bool:
        session, now = self._session, self._session.hub.monotonic()
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
                session.send(event_frame("info", self.info(), command.ref))
            case Authenticate():
                self._authenticate(command)
            case Subscribe(data=data):
                change = session.viewing.add(self._principal(), data.device_ids, data.groups)
                session.send(event_frame("subscribed", change.data(), command.ref))
                if data.snapshot:
                    session.viewing.snapshot(change)
            case Unsubscribe(data=data):
                change = session.viewing.remove(data.device_ids, data.groups)
                session.send(event_frame("unsubscribed", change.data(), command.ref))

    def _principal(self) -> Principal:
        principal = self._session.credential.principal
        if principal is None:
            raise CommandError("not_authenticated", "send the authenticate command with a token first")
        return principal

    def _authenticate(self, command: Authenticate) -> None:
        """The first token, or a new one for the same subject. A bad first one ends the stream."""
        session = self._session
        try:
            principal = session.credential.verify(command.data.token.get_secret_value())
        except TokenError as error:
            if session.credential.principal is not None:
                raise CommandError(error.code, self.advice[error.code]) from None
            session.close(refusal_reason(error.code), error_frame(error.code, self.advice[error.code], command.ref))
            return
        session.authenticated()
        session.credential.accept(principal)
        session.send(event_frame("info", self.info_after(principal), command.ref))

    def info(self) -> dict[str, object]:
        """The ``data`` of ``info``: what the server knows of this stream."""
        return {**state(self._session), **self._session.viewing.data()}

    def info_after(self, principal: Principal) -> dict[str, object]:
        """The same after a change of token, and what the new one takes away."""
        refused = self._session.viewing.restrict(principal)
        return {**self.info(), "refused": refused}


def hello(session: Client) -> dict[str, object]:
    """The ``data`` of the first event."""
    settings = session.hub.settings
    return {
        "protocol": 1,
        "connection_id": session.connection_id,
        "heartbeat_seconds": settings.heartbeat_seconds,
        **session.credential.data(),
        "overflow": session.overflow,
        "limits": {
            "device_ids": settings.max_device_ids,
            "message_bytes": MAX_MESSAGE_BYTES,
            "commands_per_second": COMMANDS_PER_SECOND,
            "queue_messages": settings.queue_messages,
            "queue_bytes": settings.queue_bytes,
        },
    }


def state(session: Client) -> dict[str, object]:
    """What is known of a stream whatever it shows."""
    subscription = session.subscription
    waiting_messages, waiting_bytes = subscription.waiting
    return {
        "connection_id": session.connection_id,
        "connected_seconds": round(session.hub.monotonic() - session.opened_at, 3),
        **session.credential.data(),
        "sent": subscription.sent,
        "dropped": subscription.dropped,
        "conflated": subscription.conflated,
        "queue": {"messages": waiting_messages, "bytes": waiting_bytes, "peak_messages": subscription.peak},
    }
