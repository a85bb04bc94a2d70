"""Types of settings, and checks of single ones. Pure. A check raises ValueError with what to write instead."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from bridge.core.addresses import check_origin


def check_host(text: str) -> str:
    """A name or an address to listen on, without the brackets that IPv6 has in URLs."""
    host = text.strip().removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError("give an address: 127.0.0.1 for this machine only, 0.0.0.0 or :: for every interface")
    return host


def split_list(text: str) -> tuple[str, ...]:
    """``"a, b,,c"`` → ``("a", "b", "c")``."""
    return tuple(item for item in (piece.strip() for piece in text.split(",")) if item)


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
        raise ValueError("null is not an address; write it as https://telemetry.example.com")
    return check_origin(text) if text else text


def check_share_key(paserk: str, position: int) -> None:
    """A key of share links: symmetric, since a v4.public token is no share token. Never quotes the key."""
    if not paserk.startswith("k4.local."):
        raise ValueError(f"key number {position} is not a k4.local. key; make one with `telemetry-bridge keygen share`")


def check_network(text: str) -> str:
    """A network in CIDR notation, or a single address."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write it as 10.0.0.0/8 or 192.0.2.7") from None
    return text


_Listed = BeforeValidator(lambda value: split_list(value) if isinstance(value, str) else value)
Unset = BeforeValidator(lambda value: None if value == "" else value)
"""Makes an empty text None: Compose writes an unset variable so."""
Names = Annotated[tuple[str, ...], NoDecode, _Listed]
"""Comma-separated in a variable, a list in TOML."""
Origins = Annotated[tuple[Annotated[str, AfterValidator(check_origin)], ...], NoDecode, _Listed]
Networks = Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], NoDecode, _Listed]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, _Listed]
Count = Annotated[int, Field(ge=0)]
OptionalPath = Annotated[Path | None, Unset]
OptionalPort = Annotated[Annotated[int, Field(ge=0, le=65_535)] | None, Unset]
