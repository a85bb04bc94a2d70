"""What one stream may select, and what may wait for it."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field
from pydantic_settings import BaseSettings

FRAME_ALLOWANCE_BYTES: Final = 1024
"""What a frame holds beside the payload: a device id of 64 characters with escapes, message id, heads; under 600."""


class StreamSettings(BaseSettings):
    """The part of ``Settings`` that this wing owns."""

    queue_messages: int = Field(100, ge=1, le=100_000, description="Messages that wait for one socket at most.")
    queue_bytes: int = Field(
        256 * 1024, ge=1024, description="Bytes that wait for one socket at most; a payload must fit."
    )
    overflow: Literal["latest", "drop-oldest", "drop-newest", "disconnect"] = Field(
        "latest", description="What happens when a socket's queue is full."
    )
    heartbeat_seconds: float = Field(
        25.0,
        ge=1,
        le=300,
        description="Seconds between pings; below the idle time-out of any proxy on the way (often 60).",
    )
    max_device_ids: int = Field(1000, ge=1, description="Device ids that one socket may select.")
