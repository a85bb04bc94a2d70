"""The life of one socket, from the upgrade to the log line at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import WSMsgType, web

from bridge.access.principal import Principal
from bridge.core.errors import CommandError
from bridge.core.limits import (
    AUTHENTICATE_SECONDS,
    CHUNK_BYTES,
    CLOSE_SECONDS,
    EXPIRY_GRACE_SECONDS,
    LOW_WATER_BYTES,
    MAX_MESSAGE_BYTES,
    WRITE_SECONDS,
)
from bridge.core.telemetry import UpstreamState
from bridge.fanout.outbox import Policy
from bridge.fanout.subscription import Subscription
from bridge.protocol.closing import CloseReason
from bridge.protocol.frames import KEEP_ALIVE, close_frame, error_frame, event_frame
from bridge.stream.command_handler import Dialogue, hello
from bridge.stream.credential import Credential
from bridge.stream.hub import Hub
from bridge.stream.selection import Viewing
from bridge.stream.websocket import StreamSocket, cut

log = logging.getLogger("bridge.stream.session")

_PROTOCOL_ERRORS: Final = {
    1002: (CloseReason.PROTOCOL, "protocol_error", "the frame breaks RFC 6455"),
    1007: (CloseReason.INVALID_DATA, "invalid_utf8", "text frames must be UTF-8"),
    1009: (CloseReason.TOO_BIG, "message_too_big", f"a message may have at most {MAX_MESSAGE_BYTES} bytes"),
}

ROOM_SECONDS: Final = 0.2
"""Between two looks whether a client has read its answers."""
CONNECTION_ID_BYTES: Final = 6
"""Random bytes in a connection id: enough to find one stream in the log."""


class Session:
    """One WebSocket. Everything happens on the loop; ``serve`` returns when the socket is gone.

    As it is, the stream of a fleet's watcher. A stream of another kind overrides ``_make_credential``,
    ``_make_dialogue`` and ``greeting``.
    """

    __slots__ = (
        "__weakref__", "_cutter", "_detail", "_dialogue", "_heard_at", "_ip", "_pinged_at", "_reason", "_transport",
        "_upstream_told", "_waiting", "connection_id", "credential", "hub", "opened_at", "overflow", "socket",
        "subscription", "viewing",
    )  # fmt: skip

    def __init__(self, hub: Hub, ip: str) -> None:
        self.hub = hub
        self.connection_id = secrets.token_hex(CONNECTION_ID_BYTES)
        self.opened_at = self._heard_at = hub.monotonic()
        self.socket = StreamSocket(self._broken)
        self.credential = self._make_credential()
        self._dialogue = self._make_dialogue()
        self._ip = ip
        self._pinged_at: float | None = None
        self._reason: CloseReason | None = None
        self._detail = ""
        self._cutter: asyncio.TimerHandle | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._upstream_told = UpstreamState.UP

    def _make_credential(self) -> Credential:
        return Credential(self.hub, self)

    def _make_dialogue(self) -> Dialogue:
        return Dialogue(self)

    def greeting(self) -> Mapping[str, object]:
        """The ``data`` of ``hello``."""
        return hello(self)

    async def open(self, request: web.Request, overflow: Policy | None) -> None:
        """The upgrade. HTTPBadRequest from aiohttp when the request is no proper one."""
        await self.socket.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("gone before the upgrade")
        self._transport = transport
        self.overflow = overflow or Policy(self.hub.settings.overflow)
        self.subscription = Subscription(transport, self.hub.outbox_limits(self.overflow), self, self.hub.broker.tally)
        self.viewing = Viewing(self.hub, self.subscription)
        self.hub.streams.add(self)
        self.hub.heartbeat.add(self)

    def welcome(self, principal: Principal | None) -> None:
        """Say hello. With None the client has AUTHENTICATE_SECONDS to present a token."""
        if principal is None:
            self._waiting = self.hub.call_later(AUTHENTICATE_SECONDS, self._nobody_came)
        else:
            self.credential.accept(principal)
        self.send(event_frame("hello", self.greeting()))
        self.tell_upstream(self.hub.upstream_state)
        log.info("Stream %s of %s from %s opened", self.connection_id, self.credential.name, self._ip)

    def welcome_to(
        self, principal: Principal, device_ids: Sequence[str], groups: Sequence[str], snapshot: bool
    ) -> None:
        """Say hello and begin with a selection from the URL. CommandError when it is none."""
        self.credential.principal = principal  # so that a refusal, too, is logged with whose it was
        change = self.viewing.add(principal, device_ids, groups)
        if change.refused and not change.device_ids and not change.groups:
            raise CommandError("not_allowed", "the token allows none of these devices")
        self.welcome(principal)
        self.send(event_frame("subscribed", change.data()))
        if snapshot:
            self.viewing.snapshot(change)

    def refuse(self, code: str, message: str, reason: CloseReason, detail: str = "") -> None:
        """Tell the client why, and end the stream. ``detail`` is for the log; without one that has the code."""
        if self._reason is None:
            self._detail = detail or code
        self.close(reason, error_frame(code, message))

    def authenticated(self) -> None:
        """A valid token came in time."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _nobody_came(self) -> None:
        self.refuse("token_required", f"no valid token within {AUTHENTICATE_SECONDS:g} s", CloseReason.CREDENTIAL)

    async def serve(self) -> None:
        """Carry out commands until the socket is gone. Raises nothing: a bug is logged and closes with 1011."""
        while True:
            try:
                message = await self.socket.receive()
                self._heard_at = self.hub.monotonic()
                if message.type is WSMsgType.TEXT or message.type is WSMsgType.PING or message.type is WSMsgType.BINARY:
                    await self._room()
                    if self._reason is None:
                        self._dialogue.handle(message.type, message.data)
                elif message.type is WSMsgType.CLOSE:
                    self.close(CloseReason.GOODBYE)  # the answer, unless it was the client's answer to ours
                    return
                elif message.type is not WSMsgType.PONG:
                    return
            except Exception as error:
                hopeless = self._reason is not None
                self.failed(error)
                if hopeless:
                    self.abort()
                    return

    def failed(self, error: Exception) -> None:
        """Our own bug: a traceback for us, 1011 for the client."""
        log.error(
            "Stream %s of %s failed: a bug, please report it", self.connection_id, self.credential.name, exc_info=error
        )
        self.close(CloseReason.BUG)

    def end(self) -> None:
        """Leave nothing behind. Called once, when ``serve`` is over, whatever happened."""
        hub = self.hub
        hub.heartbeat.discard(self)
        hub.streams.discard(self)
        hub.broker.forget(self.subscription)
        self.credential.drop()
        self.authenticated()
        self.socket.release()
        if self._cutter is not None:
            self._cutter.cancel()
        if self._transport.get_write_buffer_size():
            # aiohttp closes the transport next; that alone would wait for ever for a peer that does not read.
            hub.call_later(CLOSE_SECONDS, self._transport.abort)
        reason = self._reason or CloseReason.LOST
        subscription = self.subscription
        detail = self._detail or ("" if self.credential.principal else self.credential.refused)
        log.info(
            "Stream %s of %s from %s ended: %s (%d)%s after %.1f s, %d sent, %d dropped, %d conflated, queue peak %d",
            self.connection_id, self.credential.name, self._ip, reason.text, reason.code, detail and f", {detail},",
            hub.monotonic() - self.opened_at, subscription.sent, subscription.dropped, subscription.conflated,
            subscription.peak,
        )  # fmt: skip

    # --- writing ----------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Write a control event, past what waits in the outbox. Bounded: see ``_room``."""
        if not self._transport.is_closing():
            with contextlib.suppress(RuntimeError):  # uvloop's way to say that the socket is gone, see Cohort.flush
                self._transport.write(frame)

    async def _room(self) -> None:
        """Wait until the last answers were taken: a client that does not read gets no further answers.

        One that takes none of them for WRITE_SECONDS is cut.
        """
        transport = self._transport
        deadline = self.hub.monotonic() + WRITE_SECONDS
        # Polled: aiohttp keeps the protocol's resume_writing() to itself.
        while self._reason is None and transport.get_write_buffer_size() > CHUNK_BYTES and not transport.is_closing():
            if self.hub.monotonic() > deadline:
                self.stalled()
            await asyncio.sleep(ROOM_SECONDS)

    @property
    def ended(self) -> bool:
        """Whether the end has begun: nothing may be delivered any more."""
        return self._reason is not None

    @property
    def takes_data(self) -> bool:
        """Whether the peer has read nearly all that was written."""
        return self._transport.get_write_buffer_size() <= LOW_WATER_BYTES

    def tell_upstream(self, state: UpstreamState) -> None:
        """Say when the link to the MQTT broker was lost or came back; not to one that would not read it."""
        if state is not self._upstream_told and self._reason is None and self.takes_data:
            self._upstream_told = state
            self.send(event_frame("upstream", {"state": state}))

    # --- the end ----------------------------------------------------------------------------------------

    def close(self, reason: CloseReason, *frames: bytes) -> None:
        """Write ``frames`` and the Close frame, wait CLOSE_SECONDS for the peer's, then cut the connection.

        Nothing is delivered after this returns. Only the first call counts. Not aiohttp's close(): called
        beside a waiting receive() it does not wait for the peer's Close frame, whose sender then finds the
        connection gone and takes it for an abnormal end.
        """
        if self._reason is not None:
            return
        self._reason = reason
        self.hub.broker.forget(self.subscription)
        self.hub.deadlines.discard(self)
        for frame in frames:
            self.send(frame)
        self.send(close_frame(reason.code, reason.text))
        self._cutter = self.hub.call_later(CLOSE_SECONDS, self._cut)

    def _cut(self) -> None:
        """The peer has not answered our Close frame in time. What it takes, it may still have."""
        self._cut_stuck()
        self._transport.close()

    def _cut_stuck(self) -> None:
        """Cut the connection of a peer that has not even taken our last words."""
        if self._transport.get_write_buffer_size():
            self.abort()

    def abort(self) -> None:
        """Cut the connection now, without a word. What the kernel has not sent yet is thrown away."""
        cut(self._transport)

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        """The credential's end: ``frames`` and the close; a socket that takes no data is cut instead."""
        self.close(reason, *frames)
        self.hub.call_later(EXPIRY_GRACE_SECONDS, self._cut_stuck)

    def _broken(self, code: int) -> None:
        """The client has sent a frame that cannot be taken: say why, and end the stream."""
        reason, error, text = _PROTOCOL_ERRORS[code]
        self.refuse(error, text, reason)

    # --- Member of the heartbeat ------------------------------------------------------------------------

    def ping(self) -> None:
        """A ping, unless what waits before it would only grow: then the write limit decides."""
        self.tell_upstream(self.hub.upstream_state)
        if self._reason is None and self.takes_data:
            self._pinged_at = self.hub.monotonic()
            self.send(KEEP_ALIVE)

    def check_pulse(self) -> None:
        if self._pinged_at is not None and self._heard_at < self._pinged_at:
            self._reason = self._reason or CloseReason.LOST
            self.abort()

    # --- Owner of the subscription ----------------------------------------------------------------------

    def overflowing(self, device_id: str) -> None:
        log.warning(
            "Stream %s of %s: queue full for device %s, applying %s; further losses of this episode are only counted",
            self.connection_id, self.credential.name, device_id, self.overflow,
        )  # fmt: skip

    def overflowed(self) -> None:
        asyncio.get_running_loop().call_soon(self.close, CloseReason.SLOW)

    def stalled(self) -> None:
        self._reason = self._reason or CloseReason.SLOW
        self.abort()
