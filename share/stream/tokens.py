"""Share tokens: v4.local, sealed with a share key. The only module of ``share`` that makes and opens tokens.

Two kinds open a stream. Ours names a stored share, ``share_id``, and nothing else: its grant is looked up. A token of
another service that has the share key names ``device_id`` or ``device_ids`` itself, and may narrow what is shown by
``fields``, ``precision_m``, ``delay_s``, ``trail`` and ``starts_at``. The key, which is never an access key, binds the
purpose, and so does ``aud`` where there is one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bridge.access.claims import Validity, optional, text_value
from bridge.access.paseto import KeyRing
from bridge.core.errors import TokenError
from bridge.core.strict_json import parse_object
from bridge.core.times import parse_time, timestamp
from share.model.aliases import neutral_aliases
from share.model.grant import DEFAULT_FIELDS, FieldName, Grant
from share.model.limits import MAX_DEVICES, MAX_LABEL_CHARS, MAX_TRAIL, MAX_TRAIL_IN_ALL
from share.model.rules import Delay, DeviceId, Number, Precision

AUDIENCE_SHARE: Final = "telemetry-bridge/share-location"
"""``aud`` of share tokens. Ours always carry it; another issuer's may leave it out, but not differ."""
TOKEN_ID_BYTES: Final = 12
"""Random bytes of ``jti``: 96 bits, so that two tokens never share one."""


def _each_once(ids: list[str]) -> list[str]:
    return list(dict.fromkeys(ids))


class _GrantClaims(BaseModel):
    """What another service's token says of its grant. No claim may be null; unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    device_ids: Annotated[list[DeviceId], AfterValidator(_each_once), Field(min_length=1, max_length=MAX_DEVICES)]
    label: Annotated[str, AfterValidator(text_value), Field(max_length=MAX_LABEL_CHARS)] = ""
    starts_at: Annotated[float | None, BeforeValidator(parse_time)] = None
    fields: list[FieldName] = Field(default=sorted(DEFAULT_FIELDS))
    precision_m: Precision = 0.0
    delay_s: Delay = 0.0
    trail: Annotated[Number, Field(ge=0, le=MAX_TRAIL, multiple_of=1)] = 0.0


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
        if _GrantClaims.model_fields.keys() & claims.keys():  # ignored, they would show more than their issuer meant
            raise ValueError("share_id excludes every claim about the grant, which is stored with the share")
        return Ticket(expires_at, share_id, None)
    device_ids = claims["device_ids"] if "device_ids" in names else [claims["device_id"]]
    try:
        said = _GrantClaims.model_validate({**claims, "device_ids": device_ids})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"{first['loc'][0]}: {first['msg']}") from None
    if said.trail * len(said.device_ids) > MAX_TRAIL_IN_ALL:
        raise ValueError(f"trail times the number of devices is above {MAX_TRAIL_IN_ALL}")
    grant = Grant(
        aliases=neutral_aliases(said.device_ids, {}),
        starts_at=said.starts_at,
        fields=frozenset(said.fields),
        precision_m=said.precision_m,
        delay_s=said.delay_s,
        trail=int(said.trail),
    )
    return Ticket(expires_at, None, grant, said.label)
