"""How long the consumer waits, and for what, as one value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """The limits of the link to the MQTT broker; times are in seconds."""

    connect_seconds: float = 5.0
    """For TCP and TLS each, and again for CONNACK and SUBACK to arrive."""
    tick_seconds: float = 0.5
    """Longest wait in the selector; paho's keep-alive check runs at least this often."""
    refused_seconds: float = 60.0
    """Longest wait after a refusal (password, client id, topic filter): a person must act first."""
    retry_seconds: float = 30.0
    """Longest wait after any other failure."""
    stable_seconds: float = 10.0
    """A link that lasted this long makes the next loss the first one again; a flapping broker is tried less and
    less."""
    keepalive_seconds: int = 15
    """MQTT keep-alive. A half-open link is noticed after two of them at the latest (a ping and its answer)."""
    short_links: int = 3
    """Short connections in a row before the log suspects a second client with our id: one is a restart of the MQTT
    broker, and two may be chance."""

    @property
    def silent_seconds(self) -> float:
        """Longest time between two rounds of a thread that is well: it may be connecting, over TLS."""
        return 2 * self.connect_seconds + self.tick_seconds
