"""Addresses: of the MQTT broker, of web pages, and to listen on. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

EMBEDDED = "embedded"

EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound here
"""What stands for every interface → where that is reached from this machine."""

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")


@dataclass(frozen=True, slots=True, repr=False)
class MqttAddress:
    """Where the MQTT broker is. ``username`` and ``password`` are None where the URL has none."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

    def __str__(self) -> str:
        """``host:port``: never the user's name or password, so that it can be logged."""
        return place(self.host, self.port)

    def __repr__(self) -> str:
        return f"MqttAddress({self})"


def place(host: str, port: int) -> str:
    """``host:port`` for people and URLs: IPv6 in brackets, and for every interface the one on this machine."""
    host = EVERY_INTERFACE.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_mqtt_url(url: str) -> MqttAddress | None:
    """The address in an ``mqtt://`` or ``mqtts://`` URL; None for ``embedded``. Never quotes the URL."""
    if url == EMBEDDED:
        return None
    hint = "write mqtt://[user:password@]host[:port] or mqtts://…, with special characters in the password as %XX"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"not a URL; {hint}") from None
    if parts.scheme not in ("mqtt", "mqtts"):
        raise ValueError(f"the scheme must be mqtt or mqtts; {hint}")
    if not parts.hostname or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"only a host and an optional port are allowed; {hint}")
    tls = parts.scheme == "mqtts"
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return MqttAddress(parts.hostname, port or (8883 if tls else 1883), tls, username, password)


def check_origin(text: str) -> str:
    """``scheme://host[:port]`` as browsers write it (RFC 6454 section 6.2), or ``null``."""
    if text == "null":
        return text
    if text == "*":
        raise ValueError("* would let any web page use a visitor's cookie; list the origins that may connect")
    try:
        parts = urlsplit(text.lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    if (
        parts.scheme not in ("http", "https")
        or _HOST.fullmatch(host) is None
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        shown = "this" if "@" in text else repr(text)  # a password may stand before an @
        raise ValueError(f"{shown} is not an origin; write it as https://app.example.com or http://localhost:5173")
    if port == {"http": 80, "https": 443}[parts.scheme]:
        port = None
    return f"{parts.scheme}://" + (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def is_loopback(host: str) -> bool:
    """Whether a listener on ``host`` can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
