"""The settings of share links, a part of ``Settings``."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from bridge.core.setting_types import Count, Secrets, check_share_key


class ShareSettings(BaseSettings):
    """What public share links need; without ``share_keys`` there are none."""

    share_keys: Secrets = Field(
        (),
        description="PASERK keys (k4.local) for share links, comma-separated; the first mints, all verify. None: no "
        "share links. Never a key of ACCESS_KEYS.",
    )
    database_url: SecretStr = Field(
        SecretStr("sqlite:///telemetry-bridge.sqlite3"),
        description="Where shares are stored: sqlite:///path, or postgresql://user:password@host/name.",
    )
    max_shares: int = Field(10_000, ge=1, description="Shares that are open at the same time.")
    max_connections_per_share: Count = Field(
        1000, description="Streams of one share; more are closed with 1013. 0: no limit."
    )
    max_public_connections: Count = Field(
        8000, description="Streams of all shares; more are refused with 503, so that fleet watchers keep a place. "
        "0: no limit.",
    )  # fmt: skip
    public_requests_per_minute: Count = Field(
        60,
        description="Exchanges of a link's code, and as many new public streams, per minute and client address; more "
        "are refused with 429. 0: no limit.",
    )
    share_token_seconds: float = Field(
        600.0, ge=60, le=86_400, description="Life of a share's token; the page renews it by itself."
    )
    share_max_days: float = Field(
        30.0, gt=0, le=3660, description="Longest life of a share, and of a share token minted elsewhere, in days."
    )
    share_retention_days: float = Field(
        30.0, ge=0, description="Days that a share is kept in the database after it has ended."
    )
    share_silent_seconds: float = Field(
        120.0,  # many trackers send once a minute, and may lose one
        ge=10,
        le=86_400,
        description="Without a message for so long the share page says that there is no signal.",
    )
    map_tiles_url: str = Field(
        "https://tile.openstreetmap.org/{z}/{x}/{y}.png",
        description="Map tiles of the share page, with {z}, {x}, {y} and perhaps {s} and {r}; empty: no tiles.",
    )
    map_attribution: str = Field(
        "© OpenStreetMap contributors",
        max_length=300,
        description="The credit in the corner of the map, as the source of the tiles asks for.",
    )

    @field_validator("share_keys")
    @classmethod
    def _keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for position, key in enumerate(value, start=1):
            check_share_key(key.get_secret_value(), position)
        return value
