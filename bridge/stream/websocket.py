"""One WebSocket on its transport, from the upgrade to the end of the connection."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final, Protocol

from bridge.core.limits import READ_BYTES
from bridge.core.times import Timer
from bridge.protocol.frames import close_frame
from bridge.protocol.receiving import Event, Opcode, ProtocolError, Receiver
from bridge.stream.limits import StreamLimits
from bridge.stream.read_budget import ReadBudget

_NO_LINGER: Final = struct.pack("ii", 1, 0)
_SIOCOUTQNSD: Final = 0x894B
"""Bytes that the kernel has not sent yet, without those in flight (linux/sockios.h)."""
_EARLIEST_SECONDS: Final = 0.001
_BUFFER: Final = memoryview(bytearray(READ_BYTES))
"""Where every client's bytes arrive: the loop reads one socket at a time, and what has to be kept is copied."""


class Owner(Protocol):
    """The stream that a socket carries. None of these may raise."""

    def received(self, event: Event) -> None:
        """A whole message, or a control frame. After CLOSE nothing more is received."""

    def broken(self, error: ProtocolError) -> None:
        """The client breaks the protocol: write the last words, and ``close``."""

    def flooded(self) -> None:
        """The client goes on sending more than it may: write the last words, and ``close``."""

    def paused(self) -> None:
        """The transport has enough: write nothing that can wait."""

    def resumed(self) -> None:
        """It takes data again."""

    def gone(self) -> None:
        """The connection has ended. The last call."""


class WebSocket(asyncio.BufferedProtocol):
    """Reads under a budget, writes under the transport's back-pressure, and ends within a bounded time.

    Who does not read is not read from: while the transport has more than ``high_water_bytes`` to write, what the
    client sends waits, so that answers cannot pile up. Who sends more than a second's budget waits for the next.
    """

    __slots__ = (
        "_budget", "_call_later", "_close_deadline", "_closing", "_corked", "_discarding", "_limits", "_monotonic",
        "_next_second", "_owner", "_receiver", "_transport", "_unread", "reading_paused", "writing_paused",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        owner: Owner,
        limits: StreamLimits,
        monotonic: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self._transport = transport
        self._owner: Owner | None = owner
        self._limits = limits
        self._monotonic = monotonic
        self._call_later = call_later
        self._receiver: Receiver | None = None  # most clients never say a word
        self._budget: ReadBudget | None = None
        self._corked: list[bytes] | None = None
        self._next_second: Timer | None = None
        self._closing: Timer | None = None
        self._close_deadline = 0.0
        self._unread = 0
        self._discarding = False
        self.reading_paused = False
        """Whether the client is not listened to at the moment."""
        self.writing_paused = False
        """Whether the client has yet to read most of what was written."""
        transport.set_write_buffer_limits(limits.high_water_bytes, limits.low_water_bytes)
        limit_reading = getattr(transport, "set_read_buffer_limits", None)
        if limit_reading is not None:  # of TLS, which reads on while we do not
            limit_reading(READ_BYTES)

    # --- writing ----------------------------------------------------------------------------------------

    @property
    def unwritten_bytes(self) -> int:
        """What the transport has taken and the kernel has not. Over TLS, what the kernel has not sent counts instead:
        the transport below the one that we know has a buffer that is not told, and fills only when the kernel's has."""
        size = self._transport.get_write_buffer_size()
        return size if size or self._transport.get_extra_info("sslcontext") is None else self._unsent_bytes()

    def _unsent_bytes(self) -> int:
        unsent, sock = bytearray(4), self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError, ValueError):  # closed already, or no Linux
            if sock is not None:
                fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, unsent)
        return int.from_bytes(unsent, sys.byteorder)

    def write(self, frame: bytes) -> None:
        """Write now, whatever waits. Nothing happens when the connection is gone."""
        if self._corked is not None:
            self._corked.append(frame)
        elif not self._transport.is_closing():
            with contextlib.suppress(RuntimeError):  # uvloop's way to say that the socket is gone, see Cohort.flush
                self._transport.write(frame)

    def cork(self, head: bytes) -> None:
        """Keep what is written from now on together with ``head``, until ``uncork``: one segment, not several."""
        self._corked = [head]

    def uncork(self) -> None:
        """Write what was kept. Harmless where nothing is."""
        if self._corked is not None:
            frames, self._corked = self._corked, None
            self.write(b"".join(frames))

    def pause_writing(self) -> None:
        """The transport's: its buffer is above ``high_water_bytes``."""
        self.writing_paused = True
        if self._owner is not None:
            self._owner.paused()

    def resume_writing(self) -> None:
        """The transport's: its buffer is below ``low_water_bytes`` again."""
        self.writing_paused = False
        if self._owner is not None:
            # First: what waits to be written may fill the buffer again at once, for as long as the client is behind.
            self._receive()
            if not self.writing_paused:
                self._owner.resumed()

    # --- reading ----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport puts what it reads next."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """The transport has read ``nbytes``."""
        if self._receiver is None or self._budget is None:
            self._receiver = Receiver(self._limits.max_message_bytes)
            self._budget = ReadBudget(self._limits.frames_per_second, self._limits.bytes_per_second)
        self._budget.renew(self._monotonic())
        self._budget.received(nbytes)
        if not self._discarding:
            self._receiver.feed(_BUFFER[:nbytes])
        self._receive()

    def _receive(self) -> None:
        """Hand on what has arrived, as far as the budget goes and the client reads its answers."""
        receiver, budget, owner = self._receiver, self._budget, self._owner
        if receiver is None or budget is None or owner is None:
            return
        budget.renew(self._monotonic())
        try:
            while not (self._discarding or self.writing_paused or budget.spent):
                before = receiver.frames
                event = receiver.next_event(budget.frames)
                budget.frames -= receiver.frames - before
                if event is None:
                    break
                owner.received(event)
                if event.opcode is Opcode.CLOSE:  # ours was written just now, or before: nothing is left to say
                    self._discarding = True
                    self._transport.close()
        except ProtocolError as error:
            self._break(owner, error)
        if self._transport.is_closing():
            return
        if self.writing_paused or budget.spent:
            self._stop_reading()
            if budget.spent and self._next_second is None and self._closing is None:
                self._wait_for_budget(owner, budget)
        elif self.reading_paused:
            self.reading_paused = False
            self._transport.resume_reading()

    def _stop_reading(self) -> None:
        if not self.reading_paused:
            self.reading_paused = True
            self._transport.pause_reading()

    def _wait_for_budget(self, owner: Owner, budget: ReadBudget) -> None:
        """Listen again when the next second begins, unless it is one too many."""
        if budget.over():
            owner.flooded()
        else:
            self._next_second = self._call_later(budget.ends_at - self._monotonic(), self._begin_second)

    def _begin_second(self) -> None:
        left = self._budget.ends_at - self._monotonic() if self._budget is not None else 0.0
        if left > 0:  # uvloop's timers are up to a millisecond early
            self._next_second = self._call_later(max(left, _EARLIEST_SECONDS), self._begin_second)
            return
        self._next_second = None
        self._receive()

    def eof_received(self) -> None:
        """The client sends nothing more: the transport closes, once what was written is on its way."""

    # --- the end ----------------------------------------------------------------------------------------

    def _break(self, owner: Owner, error: ProtocolError) -> None:
        """The client breaks the protocol. It may still be sending, and if the connection were closed at once the
        kernel would answer that with a reset, and the client lose the words that say why. So what comes is thrown
        away until it has ended too; after ``linger_seconds`` our sending side is closed, which tells it to."""
        self._discarding = True
        owner.broken(error)
        self._call_later(self._limits.linger_seconds, self._close_sending_side)

    def _close_sending_side(self) -> None:
        if not self._transport.is_closing() and self._transport.can_write_eof():  # TLS has no such thing
            with contextlib.suppress(OSError):  # gone, which asyncio does not notice while reading is paused
                self._transport.write_eof()

    def close(self, code: int, text: str) -> None:
        """Write a Close frame and wait ``close_seconds`` for the client's; then close the connection.

        A client that still reads what was written before it gets ``write_seconds`` for that; one that reads
        nothing is cut.
        """
        if self._closing is None:
            self.write(close_frame(code, text))
            self.uncork()
            self._close_deadline = self._monotonic() + self._limits.write_seconds
            self._wait_for_close()

    def _wait_for_close(self) -> None:
        self._unread = self.unwritten_bytes
        self._closing = self._call_later(self._limits.close_seconds, self._end)

    def _end(self) -> None:
        """The client has not answered our Close frame in time."""
        unread = self.unwritten_bytes
        if not unread:
            self._transport.close()
        elif unread < self._unread and self._monotonic() < self._close_deadline:
            self._wait_for_close()
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the connection now. What the kernel has not sent yet is thrown away."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:  # as it is where TLS has lost its connection
            # Without this the kernel goes on sending for as long as the peer lets it wait (socket(7), SO_LINGER).
            with contextlib.suppress(OSError, ValueError):  # closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def abort_if_stuck(self) -> None:
        """Cut the connection of a client that has not even taken our last words."""
        if self.unwritten_bytes:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport's last word."""
        for timer in (self._closing, self._next_second):
            if timer is not None:
                timer.cancel()
        owner, self._owner, self._receiver = self._owner, None, None
        if owner is not None:
            owner.gone()
