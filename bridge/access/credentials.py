"""Where a request carries its token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from multidict import MultiMapping

from bridge.core.errors import TokenError

COOKIE: Final = "telemetry_bridge_token"

SUBPROTOCOL_PREFIX: Final = "bearer."
"""A browser cannot set headers on a WebSocket; it offers the token as one more subprotocol."""


def find_credential(headers: MultiMapping[str], cookies: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The token that a request carries, or None. Pure; multi-dicts may hold a name several times.

    Looked for in ``Authorization: Bearer``, a subprotocol ``bearer.<token>``, the cookie and
    ``?token=``. Empty ones count as absent, e.g. the cookie that a log-out left. The same token in two
    places is fine; two different ones are a TokenError ``token_invalid``, since each part of a chain of
    proxies could pick another.
    """
    found: set[str] = set()
    for value in headers.getall("Authorization", ()):
        scheme, _, credential = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            found.add(credential.strip())
    for value in headers.getall("Sec-WebSocket-Protocol", ()):
        protocols = (protocol.strip() for protocol in value.split(","))
        found.update(
            protocol.removeprefix(SUBPROTOCOL_PREFIX)
            for protocol in protocols
            if protocol.startswith(SUBPROTOCOL_PREFIX)
        )
    found.update(value.strip() for name, value in cookies.items() if name == COOKIE)
    found.update(value.strip() for name, value in query.items() if name == "token")
    found.discard("")
    if len(found) > 1:
        raise TokenError("token_invalid", "more than one credential, and they differ")
    return found.pop() if found else None
