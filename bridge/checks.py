"""Checks of single settings. Pure. Each raises ValueError with what to write instead."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

EMBEDDED = "embedded"
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
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"MqttAddress({self})"


def split_list(text: str) -> tuple[str, ...]:
    """``"a, b,,c"`` → ``("a", "b", "c")``."""
    return tuple(item for item in (piece.strip() for piece in text.split(",")) if item)


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
        raise ValueError(f"a host, an optional port and nothing behind; {hint}")
    tls = parts.scheme == "mqtts"
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return MqttAddress(parts.hostname, port or (8883 if tls else 1883), tls, username, password)


def check_topic_filters(filters: Sequence[str]) -> None:
    """Each one a topic filter (MQTT 5.0 section 4.7) and no two that share a topic.

    Overlapping subscriptions make the MQTT broker deliver a message twice (MQTT 5.0 section 3.3.4).
    """
    if not filters:
        raise ValueError("at least one topic filter is needed, for example fleet/#")
    for text in filters:
        levels = text.split("/")
        if (
            not text
            or len(text.encode()) > 65_535
            or "\0" in text
            or any(("+" in level or "#" in level) and len(level) > 1 for level in levels)
            or "#" in levels[:-1]
        ):
            raise ValueError(f"{text!r} is not a topic filter: + fills a whole level, # is the whole last level")
    for number, first in enumerate(filters):
        for second in filters[number + 1 :]:
            if _overlap(first.split("/"), second.split("/")):
                raise ValueError(
                    f"{first!r} and {second!r} overlap, so the MQTT broker would deliver some messages twice; "
                    "leave out the narrower one"
                )


def _overlap(first: list[str], second: list[str]) -> bool:
    if first[0].startswith("$") != second[0].startswith("$") and {first[0], second[0]} & {"+", "#"}:
        return False  # a wildcard at the start does not match $SYS and its like (MQTT 5.0 section 4.7.2)
    for a, b in zip(first, second, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = max(first, second, key=len)
    return len(first) == len(second) or longer[min(len(first), len(second))] == "#"


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
        raise ValueError(f"{text!r} is not an origin; write it as https://app.example.com or http://localhost:5173")
    if port == {"http": 80, "https": 443}[parts.scheme]:
        port = None
    return f"{parts.scheme}://" + (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def check_network(text: str) -> None:
    """A network in CIDR notation, or a single address."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write it as 10.0.0.0/8 or 192.0.2.7") from None


def is_loopback(host: str) -> bool:
    """Whether a listener on ``host`` can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
