"""Who a caller is and what the credential allows. A value: made by ``authenticator``, read by everyone."""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.core.device_ids import Allowed


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a verified access token.

    ``expires_at`` is wall-clock UTC in seconds since the epoch, or None for the anonymous caller of
    ``AUTH=off``. ``allowed`` already holds the devices of the token's groups.
    """

    subject: str
    expires_at: float | None
    allowed: Allowed
    devices: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = field(default=frozenset({"stream"}))
    token_id: str = ""
