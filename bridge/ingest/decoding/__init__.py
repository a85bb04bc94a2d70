"""Topic and payload in, Telemetry out.

The port for formats: whatever follows the ``Decoder`` protocol can be put in. Today there is one,
``JsonDecoder``, which takes any JSON and finds the device id by JSON pointers or in the topic.
"""

from __future__ import annotations

from typing import Protocol

from bridge.core.telemetry import Telemetry


class Decoder(Protocol):
    """Turns one MQTT message into Telemetry. Called on the consumer thread, once per message."""

    def decode(self, topic: bytes, payload: bytes, retained: bool) -> Telemetry:
        """The message, or PayloadError with the cause. Must not keep state that grows."""
        ...
