"""Who may see what: a request's credential → a verified Principal. Also mints access tokens.

The way in is ``find_credential`` → ``Authenticator.verify`` → ``Principal``. A client gets the
``code`` of a TokenError and no more; the reason is its ``detail``, for the log. ``redact`` is for text
that others have written (a request line, a proxy's header) before it is logged.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from bridge.access.claims import AUDIENCE_ACCESS, MAX_TOKEN_SECONDS, SCOPES, parse_claims
from bridge.access.paseto import KeyRing, TokenTooLongError
from bridge.access.principal import Principal
from bridge.core.device_ids import Allowed, Groups
from bridge.core.errors import TokenError
from bridge.core.limits import MAX_TOKEN_BYTES
from bridge.core.times import timestamp

_TOKEN_ID_BYTES: Final = 12
"""Random bytes of ``jti``: 96 bits, so that two tokens never share one."""


_REMEMBERED_ALLOWED: Final = 1024
"""Sets of devices that are kept for the next token; at most a token's 2 KiB each: groups are only referred to."""


class Authenticator:
    """Verifies access tokens against one ring of keys.

    ``groups`` gives the devices of the groups that tokens name; a group that it does not know has none.
    ``max_token_seconds`` refuses tokens that live longer, whoever made them; None leaves that to the maker.
    """

    def __init__(
        self,
        ring: KeyRing,
        groups: Groups,
        audience: str = AUDIENCE_ACCESS,
        *,
        max_token_seconds: float | None = None,
    ) -> None:
        self._ring = ring
        self._groups = {name: Allowed(members) for name, members in groups.items()}
        self._audience = audience
        self._max_token_seconds = max_token_seconds
        # Kept because many tokens allow the same: a thousand streams then hold one set between them.
        self._allowed = lru_cache(maxsize=_REMEMBERED_ALLOWED)(self._allow)

    def verify(self, token: str | None, now: float) -> Principal:
        """The holder of ``token`` at ``now`` (wall-clock, seconds since the epoch).

        TokenError: ``token_required`` for none or an empty one, ``token_expired`` and
        ``token_not_yet_valid`` for one that is genuine but not now, ``token_invalid`` for all else.
        Scopes are not judged here: ask ``"stream" in principal.scopes``. Costs about 70 µs.
        """
        if not token:
            raise TokenError("token_required")
        claims = parse_claims(self._ring.open(token))
        claims.validity.check(now=now, audience=self._audience, max_seconds=self._max_token_seconds)
        return Principal(
            subject=claims.subject,
            expires_at=claims.validity.expires_at,
            allowed=self._allowed(claims.devices, claims.groups),
            devices=claims.devices,
            groups=claims.groups,
            scopes=claims.scopes,
            token_id=claims.token_id,
        )

    def _allow(self, devices: tuple[str, ...], groups: frozenset[str]) -> Allowed:
        return Allowed(devices, (self._groups[name] for name in sorted(groups) if name in self._groups))


def mint(
    ring: KeyRing,
    *,
    subject: str,
    devices: Iterable[str],
    groups: Iterable[str],
    scopes: Iterable[str],
    ttl: float,
    now: float,
) -> str:
    """An access token that works from ``now`` for ``ttl`` seconds, at most MAX_TOKEN_SECONDS.

    ValueError, whose text is for the person at the shell, for what ``verify`` would refuse, for a scope that
    does not exist, for a ``ttl`` out of range, and for a token above MAX_TOKEN_BYTES (name a group or a
    pattern instead of many ids).
    """
    if not 0 < ttl <= MAX_TOKEN_SECONDS:
        raise ValueError(f"ttl must be above 0 and at most {MAX_TOKEN_SECONDS} seconds ({MAX_TOKEN_SECONDS // 3600} h)")
    scope = sorted(set(scopes))
    if not SCOPES.issuperset(scope):
        raise ValueError(f"unknown scope; the scopes are: {' '.join(sorted(SCOPES))}")
    claims = {
        "aud": AUDIENCE_ACCESS,
        "sub": subject,
        "jti": secrets.token_urlsafe(_TOKEN_ID_BYTES),
        "iat": timestamp(now),
        "exp": timestamp(now + ttl),
        "devices": list(devices),
        "groups": list(groups),
        "scope": scope,
    }
    # A lone surrogate passes through here so that parse_claims refuses it with its own text.
    payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    try:
        if len(payload) <= MAX_TOKEN_BYTES:  # a longer one is refused below, with a text that helps
            parse_claims(payload)
        return ring.seal(payload)
    except TokenError as error:
        raise ValueError(error.detail) from None
    except TokenTooLongError as error:
        raise ValueError(f"{error}; name a group, or a pattern such as truck-*, instead of many ids") from None
