"""What a connection may take before it has become a stream, as one value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits of the listening side; a time is in seconds."""

    request_head_seconds: float = 10.0
    """From a connection that stands to a complete first request head, and for a TLS handshake. aiohttp has no such
    limit (Slowloris)."""
    silent_connections: int = 4096
    """Connections without a complete request head; the oldest makes room for the next. A TLS handshake does not count:
    it has a time-out, and the limit of open files."""
    keepalive_seconds: float = 15.0
    """How long an HTTP connection may wait for its next request; aiohttp's 75 s holds files for nothing."""
    few_files: int = 16
    """With so few free files left the log warns: accept() fails next."""
