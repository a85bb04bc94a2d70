"""The limits of streams that no setting changes, as one value: a server's own, or what a test needs."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core import limits


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Seconds and counts; what each is for, and why so much, stands at the constant that is its default."""

    authenticate_seconds: float = limits.AUTHENTICATE_SECONDS
    close_seconds: float = limits.CLOSE_SECONDS
    expiry_grace_seconds: float = limits.EXPIRY_GRACE_SECONDS
    linger_seconds: float = limits.LINGER_SECONDS
    pong_seconds: float = limits.PONG_SECONDS
    pulse_tick_seconds: float = limits.PULSE_TICK_SECONDS
    recheck_seconds: float = limits.RECHECK_SECONDS
    write_seconds: float = limits.WRITE_SECONDS
    high_water_bytes: int = limits.HIGH_WATER_BYTES
    low_water_bytes: int = limits.LOW_WATER_BYTES
    max_message_bytes: int = limits.MAX_MESSAGE_BYTES
    frames_per_second: int = limits.READ_FRAMES_PER_SECOND
    bytes_per_second: int = limits.READ_BYTES_PER_SECOND
