"""The life of one stream, from the upgrade to the log line at its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

from bridge.access.principal import Principal
from bridge.core.telemetry import UpstreamState
from bridge.fanout.outbox import Policy
from bridge.fanout.subscription import Subscription
from bridge.protocol.closing import CloseReason
from bridge.protocol.frames import KEEP_ALIVE, error_frame, event_frame
from bridge.protocol.receiving import Event, Opcode, ProtocolError
from bridge.stream.command_handler import CommandHandler
from bridge.stream.credential import Credential
from bridge.stream.role import Role
from bridge.stream.surroundings import Surroundings
from bridge.stream.websocket import WebSocket

log = logging.getLogger("bridge.stream.session")

_BROKEN: Final = {
    1002: (CloseReason.PROTOCOL, "protocol_error", "the frame breaks RFC 6455"),
    1007: (CloseReason.INVALID_DATA, "invalid_utf8", "text frames must be UTF-8"),
    1009: (CloseReason.TOO_BIG, "message_too_big", "a message may have at most {} bytes"),
}
CONNECTION_ID_BYTES: Final = 6
"""Random bytes in a connection id: enough to find one stream in the log."""


class Session:
    """One WebSocket with everything that belongs to it. Everything happens on the loop.

    It is open from its making until its connection is gone; ``close`` begins the end.
    """

    __slots__ = (
        "__weakref__", "_commands", "_detail", "_heard_at", "_ip", "_pinged_at", "_reason", "_upstream_told", "around",
        "connection_id", "credential", "opened_at", "overflow", "role", "socket", "subscription",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        ip: str,
        overflow: Policy,
        around: Surroundings,
        make_role: Callable[[Session], Role],
    ) -> None:
        """``transport`` is that of an upgraded connection, which ``socket`` has yet to be the protocol of."""
        self.around = around
        self.connection_id = secrets.token_hex(CONNECTION_ID_BYTES)
        self.opened_at = self._heard_at = around.monotonic()
        self.overflow = overflow
        self.socket = WebSocket(transport, self, around.limits, around.monotonic, around.call_later)
        self.subscription = Subscription(transport.write, around.outbox_limits[overflow], self, around.broker.tally)
        self.credential = Credential(self, around.deadlines, around.clock)
        self._commands = CommandHandler(self, around.monotonic)
        self._ip = ip
        self._pinged_at: float | None = None
        self._reason: CloseReason | None = None
        self._detail = ""
        self._upstream_told = UpstreamState.UP
        self.role = make_role(self)
        around.streams.add(self)
        around.heartbeat.add(self)

    # --- the beginning ----------------------------------------------------------------------------------

    def verify(self, token: str | None) -> Principal:
        """The principal of ``token``, fit for this stream. TokenError says why not; then nothing has changed."""
        return self.credential.verified(self.role.verify, token)

    def welcome(self, principal: Principal | None) -> None:
        """Say hello. With None the client has so many seconds to present a token."""
        around = self.around
        if principal is None:
            around.unauthenticated.add(self)
        else:
            self.credential.accept(principal)
        self.send(
            event_frame(
                "hello",
                {
                    "protocol": 1,
                    "connection_id": self.connection_id,
                    "heartbeat_seconds": around.heartbeat_seconds,
                    **self.role.credential_data(),
                    **self.role.greeting(),
                },
            )
        )
        self.tell_upstream(around.streams.upstream_state)
        log.info("Stream %s of %s from %s opened", self.connection_id, self.credential.name, self._ip)

    def refuse(self, code: str, message: str, reason: CloseReason, detail: str = "") -> None:
        """Tell the client why, and end the stream. ``detail`` is for the log; without one that has the code."""
        if self._reason is None:
            self._detail = detail or code
        self.close(reason, error_frame(code, message))

    def authenticated(self) -> None:
        """A valid token came in time."""
        self.around.unauthenticated.discard(self)

    def not_authenticated(self) -> None:
        """None came."""
        seconds = self.around.unauthenticated.seconds
        self.refuse("token_required", f"no valid token within {seconds:g} s", CloseReason.CREDENTIAL)

    def failed_by(self, error: Exception) -> None:
        """Our own bug: a traceback for us, 1011 for the client."""
        log.error(
            "Stream %s of %s failed: a bug, please report it", self.connection_id, self.credential.name, exc_info=error
        )
        self.close(CloseReason.BUG)

    # --- Owner of the WebSocket -------------------------------------------------------------------------

    def received(self, event: Event) -> None:
        """One message or control frame of the client. Raises nothing: a bug is logged and closes with 1011."""
        self._heard_at = self.around.monotonic()
        if self._reason is not None or event.opcode is Opcode.PONG:
            return
        if event.opcode is Opcode.CLOSE:
            self.close(CloseReason.GOODBYE)
            return
        self.around.deadlines.enforce()  # the loop may be late, or the clock may have been set
        if self._reason is not None:
            return
        try:
            self._commands.handle(event)
        except Exception as error:
            self.failed_by(error)

    def broken(self, error: ProtocolError) -> None:
        """The client has sent a frame that cannot be taken: say why, and end the stream."""
        reason, code, text = _BROKEN[error.code]
        self.refuse(code, text.format(self.around.limits.max_message_bytes), reason)

    def flooded(self) -> None:
        """The client goes on sending more than it may."""
        limits = self.around.limits
        text = f"send at most {limits.frames_per_second} frames and {limits.bytes_per_second} bytes a second"
        self.refuse("too_much_data", text, CloseReason.POLICY)

    def paused(self) -> None:
        """The transport has enough."""
        self.subscription.pause()
        self.around.stalled.add(self)

    def resumed(self) -> None:
        """The client has read."""
        self.around.stalled.discard(self)
        self.subscription.resume()
        if self.subscription.pending:
            try:
                self.around.broker.pump(self.subscription)
            except Exception as error:
                self.failed_by(error)

    def gone(self) -> None:
        """The connection has ended: let go of everything. Called once, whatever happened."""
        around, subscription = self.around, self.subscription
        around.heartbeat.discard(self)
        around.streams.discard(self)
        around.stalled.discard(self)
        around.broker.forget(subscription)
        self.credential.drop()
        self.role.ended()
        self.authenticated()
        around.released(self._ip)
        reason = self._reason or CloseReason.LOST
        detail = self._detail or ("" if self.credential.principal else self.credential.refused)
        log.info(
            "Stream %s of %s from %s ended: %s (%d)%s after %.1f s, %d sent, %d dropped, %d conflated, queue peak %d",
            self.connection_id, self.credential.name, self._ip, reason.text, reason.code, detail and f", {detail},",
            around.monotonic() - self.opened_at, subscription.sent, subscription.dropped, subscription.conflated,
            subscription.peak,
        )  # fmt: skip

    # --- writing ----------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Write a control event, past what waits in the outbox. Bounded: who does not read is not read from."""
        self.socket.write(frame)

    @property
    def ended(self) -> bool:
        """Whether the end has begun: nothing may be delivered any more."""
        return self._reason is not None

    @property
    def takes_data(self) -> bool:
        """Whether the peer has read nearly all that was written."""
        return not self.socket.writing_paused

    def tell_upstream(self, state: UpstreamState) -> None:
        """Say when the link to the MQTT broker was lost or came back; not to one that would not read it."""
        if state is not self._upstream_told and self._reason is None and self.takes_data:
            self._upstream_told = state
            self.send(event_frame("upstream", {"state": state}))

    def state(self) -> dict[str, object]:
        """The ``data`` of ``info``: what the server knows of this stream."""
        subscription = self.subscription
        waiting_messages, waiting_bytes = subscription.waiting
        return {
            "connection_id": self.connection_id,
            "connected_seconds": round(self.around.monotonic() - self.opened_at, 3),
            **self.role.credential_data(),
            "sent": subscription.sent,
            "dropped": subscription.dropped,
            "conflated": subscription.conflated,
            "queue": {"messages": waiting_messages, "bytes": waiting_bytes, "peak_messages": subscription.peak},
            **self.role.info(),
        }

    # --- the end ----------------------------------------------------------------------------------------

    def close(self, reason: CloseReason, *frames: bytes) -> None:
        """Write ``frames`` and the Close frame, and see to it that the connection ends soon, whatever the peer does.

        Nothing is delivered after this returns. Only the first call counts.
        """
        if self._reason is not None:
            return
        self._reason = reason
        self.around.broker.forget(self.subscription)
        self.around.deadlines.discard(self)
        self.around.stalled.discard(self)
        self.authenticated()
        for frame in frames:
            self.send(frame)
        self.socket.close(reason.code, reason.text)

    def abort(self) -> None:
        """Cut the connection now, without a word. What the kernel has not sent yet is thrown away."""
        self._reason = self._reason or CloseReason.LOST
        self.socket.abort()

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        """The credential's end: ``frames`` and the close; a socket that takes no data is cut instead."""
        self.close(reason, *frames)
        self.around.call_later(self.around.limits.expiry_grace_seconds, self.socket.abort_if_stuck)

    # --- Member of the heartbeat ------------------------------------------------------------------------

    def ping(self) -> None:
        """A ping, unless what waits before it would only grow: then the write limit decides."""
        if self._reason is None and self.takes_data:
            self.role.catch_up()
            self.tell_upstream(self.around.streams.upstream_state)
            self._pinged_at = self.around.monotonic()
            self.send(KEEP_ALIVE)

    def check_pulse(self) -> None:
        """End the stream if nothing was heard since the last ping.

        Not while it is us who do not listen, nor while the client has yet to read what it was sent, in which the ping
        may be: then the limits of writing and of closing decide.
        """
        listens = self.takes_data and not self.socket.reading_paused and self._reason is None
        if listens and self._pinged_at is not None and self._heard_at < self._pinged_at:
            self.abort()

    # --- Owner of the subscription ----------------------------------------------------------------------

    def overflowing(self, device_id: str) -> None:
        """Messages are being lost: a line in the log."""
        log.warning(
            "Stream %s of %s: queue full for device %s, applying %s; further losses of this episode are only counted",
            self.connection_id, self.credential.name, device_id, self.overflow,
        )  # fmt: skip

    def overflowed(self) -> None:
        """The queue is full and the client asked to be disconnected then."""
        self.around.call_later(0.0, lambda: self.close(CloseReason.SLOW))

    def failed(self) -> None:
        """The transport refuses to write."""
        self.stalled()

    def stalled(self) -> None:
        """The client has not read for too long."""
        self._reason = self._reason or CloseReason.SLOW
        self.socket.abort()
