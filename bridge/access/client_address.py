"""The address of a client, behind proxies or not."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation that ``setting_types.check_network`` has passed."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def client_ip(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The client's address: ``peer``, or what the proxies that we trust say of it.

    ``X-Forwarded-For`` is read from the right: each proxy appends the address that it saw, so the first address
    that is not a trusted proxy is the client. Anything to the left of it anyone may have written.
    """
    if not trusted or not forwarded_for:
        return peer
    address = peer
    try:
        for hop in reversed(forwarded_for.split(",")):
            parsed = ipaddress.ip_address(address)
            if not any(parsed in network for network in trusted):
                break
            address = hop.strip()
        ipaddress.ip_address(address)
    except ValueError:  # a hop that is no address: nothing said so far can be believed
        return peer
    return address


def plain_ip(address: str | None) -> str:
    """The peer's address. One that listens on :: sees IPv4 as ``::ffff:192.0.2.7`` (RFC 4291 section 2.5.5.2)."""
    address = address or ""
    mapped = address.removeprefix("::ffff:")
    return mapped if "." in mapped else address
