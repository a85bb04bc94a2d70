"""Share tokens: v4.local, sealed with a share key. The only module of ``share`` that makes and opens tokens.

Two kinds open a stream. Ours names a stored share, ``share_id``, and nothing else: its grant is looked up. A token of
another service that has the share key names ``device_id`` or ``device_ids`` itself, and may narrow what is shown by
``fields``, ``precision_m``, ``delay_s``, ``trail`` and ``starts_at``. The key, which is never an access key, binds the
purpose, and so does ``aud`` where there is one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bridge.access.claims import Validity, claim, optional, text_value
from bridge.access.paseto import KeyRing
from bridge.core.device_ids import DEVICE_ID_RULE, is_device_id
from bridge.core.errors import TokenError
from bridge.core.strict_json import parse_object
from bridge.core.times import parse_time, timestamp
from share.model.aliases import neutral_aliases
from share.model.grant import DEFAULT_FIELDS, FIELDS, Grant
from share.model.limits import (
    MAX_DELAY_SECONDS,
    MAX_DEVICES,
    MAX_LABEL_CHARS,
    MAX_PRECISION_M,
    MAX_TRAIL,
    MAX_TRAIL_IN_ALL,
    MIN_PRECISION_M,
)

AUDIENCE_SHARE: Final = "telemetry-bridge/share-location"
"""``aud`` of share tokens. Ours always carry it; another issuer's may leave it out, but not differ."""
TOKEN_ID_BYTES: Final = 12
"""Random bytes of ``jti``: 96 bits, so that two tokens never share one."""
_ABOUT_THE_GRANT: Final = frozenset({"fields", "precision_m", "delay_s", "trail", "starts_at", "label"})
"""Claims that go with ``device_id`` and ``device_ids`` only."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a verified token opens until ``expires_at`` (wall-clock): a stored share, or ``grant``."""

    expires_at: float
    share_id: str | None
    grant: Grant | None
    label: str = ""

    @property
    def key(self) -> Hashable:
        """Equal for two tokens that open the same thing."""
        return self.share_id or self.grant


def mint(ring: KeyRing, share_id: str, *, expires_at: float, now: float) -> str:
    """A token that opens the share from ``now`` until ``expires_at``."""
    claims = {
        "aud": AUDIENCE_SHARE,
        "jti": secrets.token_urlsafe(TOKEN_ID_BYTES),
        "iat": timestamp(now),
        "exp": timestamp(expires_at),
        "share_id": share_id,
    }
    return ring.seal(json.dumps(claims, separators=(",", ":")).encode())


def verify(ring: KeyRing, token: str | None, *, now: float, max_seconds: float) -> Ticket:
    """What ``token`` opens at ``now``.

    TokenError: ``token_required`` for none or an empty one, ``token_expired`` and ``token_not_yet_valid``
    for a genuine one at the wrong time, ``token_invalid`` for the rest, a life of more than
    ``max_seconds`` included. Costs about 75 µs.
    """
    if not token:
        raise TokenError("token_required")
    if not token.startswith("v4.local."):  # said before any crypto
        raise TokenError("token_invalid", "not a v4.local token")
    payload = ring.open(token)
    try:
        claims = parse_object(payload)
        validity = Validity.parse(claims)
        optional(claims, "jti", text_value, "")
        ticket = _ticket(claims, validity.expires_at)
    except ValueError as error:
        raise TokenError("token_invalid", str(error)) from None
    validity.check(now=now, audience=AUDIENCE_SHARE, max_seconds=max_seconds)
    return ticket


def _ticket(claims: Mapping[str, Any], expires_at: float) -> Ticket:
    """What the claims open. ValueError names the claim that is wrong and quotes nothing."""
    share_id = optional(claims, "share_id", text_value, None)
    names = {"share_id", "device_id", "device_ids"} & claims.keys()
    if len(names) != 1:
        raise ValueError("exactly one of share_id, device_id and device_ids is needed")
    if share_id is not None:
        if _ABOUT_THE_GRANT & claims.keys():  # ignored, they would show more than their issuer meant
            raise ValueError("share_id excludes every claim about the grant, which is stored with the share")
        return Ticket(expires_at, share_id, None)
    device_ids: tuple[str, ...]
    if "device_id" in names:
        device_ids = (claim(claims, "device_id", _device_id),)
    else:
        device_ids = claim(claims, "device_ids", _device_ids)
    return Ticket(expires_at, None, _grant(claims, device_ids), optional(claims, "label", _label, ""))


def _grant(claims: Mapping[str, Any], device_ids: tuple[str, ...]) -> Grant:
    precision = _number(claims, "precision_m", 0.0, MAX_PRECISION_M)
    if 0.0 < precision < MIN_PRECISION_M:
        raise ValueError(f"precision_m is below {MIN_PRECISION_M:g}")
    trail = _number(claims, "trail", 0.0, MAX_TRAIL)
    if not trail.is_integer():
        raise ValueError("trail is not a whole number")
    if trail * len(device_ids) > MAX_TRAIL_IN_ALL:
        raise ValueError(f"trail times the number of devices is above {MAX_TRAIL_IN_ALL}")
    return Grant(
        aliases=neutral_aliases(device_ids, {}),
        starts_at=optional(claims, "starts_at", parse_time, None),
        fields=optional(claims, "fields", _fields, DEFAULT_FIELDS),
        precision_m=precision,
        delay_s=_number(claims, "delay_s", 0.0, MAX_DELAY_SECONDS),
        trail=int(trail),
    )


def _number(claims: Mapping[str, Any], name: str, default: float, most: float) -> float:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("is not a number")  # noqa: TRY004 - a wrong value from outside, not a wrong call
        if not 0 <= value <= most:
            raise ValueError(f"is not from 0 to {most:g}")
        return float(value)

    return optional(claims, name, parse, default)


def _device_id(value: object) -> str:
    if not isinstance(value, str) or not is_device_id(value):
        raise ValueError(f"is not a device id: use {DEVICE_ID_RULE}")
    return value


def _device_ids(value: object) -> tuple[str, ...]:
    ids = _list(value, _device_id)
    if not 1 <= len(ids) <= MAX_DEVICES:
        raise ValueError(f"has not from 1 to {MAX_DEVICES} entries")
    return ids


def _fields(value: object) -> frozenset[str]:
    names = frozenset(_list(value, text_value))
    if not names <= set(FIELDS):
        raise ValueError(f"knows only {', '.join(FIELDS)}")
    return names


def _label(value: object) -> str:
    label = text_value(value)
    if len(label) > MAX_LABEL_CHARS:
        raise ValueError(f"has more than {MAX_LABEL_CHARS} characters")
    return label


def _list(value: object, parse: Callable[[object], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise ValueError("is not a list")  # noqa: TRY004 - a wrong value from outside, not a wrong call
    return tuple(dict.fromkeys(map(parse, value)))
