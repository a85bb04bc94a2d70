"""Who may connect, from where, and how many."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from bridge.core.setting_types import Count, Networks, OptionalPath, Origins, Secrets


class AccessSettings(BaseSettings):
    """The part of ``Settings`` that this wing owns."""

    groups_file: OptionalPath = Field(
        None, description='TOML file of device groups: [groups] north = ["A", "truck-*"].'
    )
    auth: Literal["required", "off"] = Field(
        "required", description="`off` lets everyone on this machine read everything; only with a loopback HOST."
    )
    access_keys: Secrets = Field(
        (), description="PASERK keys for access tokens, comma-separated; the first mints, all verify."
    )
    allowed_origins: Origins = Field(
        (),
        description="Origins of web pages that may connect, e.g. https://app.example.com, beside this server's: "
        "PUBLIC_URL or, without it, the host that was asked.",
    )
    trusted_proxies: Networks = Field(
        (), description="Networks (CIDR) of proxies whose X-Forwarded-For is believed, comma-separated."
    )
    max_connections: Count = Field(
        10_000, description="Streams at the same time; more are refused with 503. 0: no limit."
    )
    max_connections_per_ip: Count = Field(
        200, description="Streams of one client address; more are refused with 429. 0: no limit."
    )
    max_connections_per_principal: Count = Field(
        50, description="Streams of one token subject; more are closed with 1013. 0: no limit."
    )
    handshakes_per_second: Count = Field(
        500, description="New streams per second, twice that in a burst; more are refused with 503. 0: no limit."
    )
