"""What it listens on, how it logs, and how it ends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from bridge.core.setting_types import OptionalPath, OptionalPort, check_host, check_public_url


class ServerSettings(BaseSettings):
    """The part of ``Settings`` that this wing owns."""

    host: Annotated[str, AfterValidator(check_host)] = Field(
        "127.0.0.1", description="Address to listen on. 0.0.0.0 for every interface, :: with IPv6 too."
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    public_url: Annotated[str, AfterValidator(check_public_url)] = Field(
        "", description="How clients reach this server, e.g. https://telemetry.example.com: its origin."
    )
    event_loop: Literal["auto", "uvloop", "asyncio"] = Field(
        "auto", description="`auto` takes uvloop where it is installed, else asyncio."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe line that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="One readable line, or one JSON object, per event.")
    tls_cert: OptionalPath = Field(
        None, description="PEM certificate chain; with TLS_KEY the server speaks https and wss."
    )
    tls_key: OptionalPath = Field(None, description="PEM private key of TLS_CERT.")
    admin_port: OptionalPort = Field(
        None, description="Port for /healthz, /readyz and stats; unset leaves them on PORT."
    )
    drain_seconds: float = Field(
        20.0, ge=0.5, le=600, description="Seconds from SIGTERM until the process is gone, at most."
    )
