"""Checks of single settings. Pure. Each raises ValueError with what to write instead."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import NoDecode

from bridge.core.addresses import (
    check_origin,
    is_loopback,
)

FRAME_ALLOWANCE_BYTES = 1024
"""What a frame holds beside the payload: a device id of 64 characters with escapes, message id, heads; under 600."""


def check_host(text: str) -> str:
    """A name or an address to listen on, without the brackets that IPv6 has in URLs."""
    host = text.strip().removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError("an address is needed: 127.0.0.1 for this machine only, 0.0.0.0 or :: for every interface")
    return host


def split_list(text: str) -> tuple[str, ...]:
    """``"a, b,,c"`` → ``("a", "b", "c")``."""
    return tuple(item for item in (piece.strip() for piece in text.split(",")) if item)


def none_if_empty(value: object) -> object:
    """None for an empty text, as Compose writes a variable that nobody has set."""
    return None if value == "" else value


def check_topic_filters(filters: Sequence[str]) -> tuple[str, ...]:
    """The filters: each one a topic filter (MQTT 5.0 section 4.7) and no two that share a topic.

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
    return tuple(filters)


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


def check_public_url(text: str) -> str:
    """An origin as ``check_origin`` returns it, or nothing."""
    if text == "null":
        raise ValueError("null is no address; write it as https://telemetry.example.com")
    return check_origin(text) if text else text


def check_share_key(paserk: str, position: int) -> None:
    """A key of share links: symmetric, since a v4.public token is no share token. Never quotes the key."""
    if not paserk.startswith("k4.local."):
        raise ValueError(f"key number {position} is not a k4.local. key; make one with `telemetry-bridge keygen share`")


def check_network(text: str) -> None:
    """A network in CIDR notation, or a single address."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write it as 10.0.0.0/8 or 192.0.2.7") from None


def contradictions(
    *,
    auth: str,
    host: str,
    keys: int,
    tls_files: int,
    port: int,
    admin_port: int | None,
    max_payload_bytes: int,
    queue_bytes: int,
) -> list[str]:
    """What is wrong with settings that are each right by themselves: ``NAME: reason``, one line each.

    ``keys`` and ``tls_files`` say how many of them there are.
    """
    problems = []
    if auth == "off" and not is_loopback(host):
        problems.append("AUTH: `off` works only with a loopback HOST (127.0.0.1, ::1 or localhost)")
    if auth == "required" and not keys:
        problems.append(
            "ACCESS_KEYS: at least one key is needed; make one with `telemetry-bridge keygen access` "
            "(or set BRIDGE_AUTH=off on a loopback HOST)"
        )
    if tls_files == 1:
        problems.append("TLS_CERT: TLS_CERT and TLS_KEY go together")
    if admin_port is not None and admin_port == port != 0:
        problems.append("ADMIN_PORT: must differ from PORT; leave it unset to serve both on one port")
    if max_payload_bytes + FRAME_ALLOWANCE_BYTES > queue_bytes:
        problems.append(
            f"QUEUE_BYTES: must be at least MAX_PAYLOAD_BYTES and {FRAME_ALLOWANCE_BYTES} for the frame around it "
            f"({max_payload_bytes + FRAME_ALLOWANCE_BYTES}), or such a message could never wait for a slow socket"
        )
    return problems


Names = Annotated[tuple[str, ...], NoDecode]

Secrets = Annotated[tuple[SecretStr, ...], NoDecode]

Count = Annotated[int, Field(ge=0)]
