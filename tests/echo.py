"""An echo endpoint on the Receiver, sans I/O: what an Autobahn run would talk to."""

from __future__ import annotations

from bridge.protocol.receiving import Event, Opcode, ProtocolError, Receiver
from tests.autobahn import ClientFrame


class Echo:
    """Sends every message and ping back, and answers a Close frame or a fault with one."""

    def __init__(self, max_message_bytes: int, max_frames: int = 1) -> None:
        self.receiver = Receiver(max_message_bytes)
        self.sent = b""
        """What a socket would have been given to write."""
        self._max_frames = max_frames

    def feed(self, data: bytes) -> None:
        """Answer all that is complete, ``max_frames`` at a time."""
        self.receiver.feed(data)
        try:
            before = -1
            while before != self.receiver.frames:
                before = self.receiver.frames
                for event in self.receiver.events(self._max_frames):
                    self._answer(event)
        except ProtocolError as error:
            self._send(Opcode.CLOSE, error.code.to_bytes(2, "big") + str(error).encode())

    def _answer(self, event: Event) -> None:
        if event.opcode is Opcode.TEXT:
            self._send(Opcode.TEXT, event.text.encode())
        elif event.opcode is Opcode.PING:
            self._send(Opcode.PONG, event.payload)
        elif event.opcode is not Opcode.PONG:
            self._send(event.opcode, event.payload)

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        self.sent += ClientFrame(opcode, payload, masked=False).encode()
