"""What a token says: payload bytes → Claims, strictly, and whether they hold now. Pure: no crypto, no clock.

Two questions, asked one after the other. Is the payload well-formed? ``parse_claims`` refuses the whole
token for one wrong type: half a token is never obeyed. Does it hold here and now? ``Validity.check``
compares with the audience and the time it is given, for access tokens and share tokens alike.

A claim that is absent takes its default; a claim that is there, even as null, must have its type. Claims
that we do not know are ignored. No error ever quotes a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self, TypeVar, cast

from bridge.core.device_ids import DEVICE_ID_RULE, is_pattern
from bridge.core.errors import TokenError
from bridge.core.strict_json import parse_object
from bridge.core.times import parse_time

AUDIENCE_ACCESS: Final = "telemetry-bridge"
"""``aud`` of access tokens. Ours always carry it; another maker's may leave it out, but not differ."""
SCOPES: Final = frozenset({"stream", "share", "publish", "ingest", "admin"})
"""Every scope that means something. Others are ignored, so that an older bridge takes a newer maker's token."""
DEFAULT_SCOPES: Final = frozenset({"stream"})
"""Scopes of a token without ``scope``: reading, the least that a maker of tokens can have meant. Ours always say."""
LEEWAY_SECONDS: Final = 5.0
"""How far the maker's clock may run ahead of ours. For ``nbf`` and ``iat`` only: ``exp`` is kept to the instant."""
MAX_TOKEN_SECONDS: Final = 24 * 60 * 60
"""The longest life of a token that we mint: it cannot be called back, so a lost one works for a day at most."""
MAX_CLAIM_CHARS: Final = 256
"""Length of ``sub``, ``jti``, ``aud``, a group or a scope: an e-mail address is at most 254. They reach the log."""

_T = TypeVar("_T")
_NOTHING: Final[tuple[str, ...]] = ()
NO_GROUPS: Final[frozenset[str]] = frozenset()
"""One for all tokens without groups: an empty set for each would take 216 bytes while its stream lives."""


@dataclass(frozen=True, slots=True)
class Validity:
    """When a token holds, and for which audience and subject. Times are wall-clock UTC in seconds since the epoch."""

    expires_at: float
    valid_at: float | None = None
    issued_at: float | None = None
    audience: str | None = None

    @classmethod
    def parse(cls, claims: Mapping[str, Any]) -> Self:
        """``exp``, which is required, ``nbf``, ``iat`` and ``aud``. ValueError names the claim that is wrong."""
        return cls(
            expires_at=claim(claims, "exp", parse_time),
            valid_at=optional(claims, "nbf", parse_time, None),
            issued_at=optional(claims, "iat", parse_time, None),
            audience=optional(claims, "aud", text_value, None),
        )

    def check(self, *, now: float, audience: str, max_seconds: float | None = None) -> None:
        """Raise TokenError unless the token holds for ``audience`` at ``now`` (seconds since the epoch).

        Another audience is ``token_invalid``; ``now >= exp`` is ``token_expired``; ``nbf`` or ``iat`` more
        than LEEWAY_SECONDS ahead is ``token_not_yet_valid``. ``max_seconds`` bounds the life from ``iat``,
        or what is left of it where the maker gave no ``iat``; None sets no bound.
        """
        if self.audience not in (None, audience):
            raise TokenError("token_invalid", "aud names another audience")
        if now >= self.expires_at:
            raise TokenError("token_expired", "exp has passed")
        for name, at in (("nbf", self.valid_at), ("iat", self.issued_at)):
            if at is not None and at - now > LEEWAY_SECONDS:
                raise TokenError("token_not_yet_valid", f"{name} is in the future")
        since = now if self.issued_at is None else self.issued_at
        if max_seconds is not None and self.expires_at - since > max_seconds:
            raise TokenError("token_invalid", f"lives longer than {max_seconds:.0f} s")


@dataclass(frozen=True, slots=True)
class Claims:
    """A well-formed payload of an access token."""

    subject: str
    validity: Validity
    token_id: str = ""
    devices: tuple[str, ...] = ()
    groups: frozenset[str] = NO_GROUPS
    scopes: frozenset[str] = DEFAULT_SCOPES


def parse_claims(payload: bytes) -> Claims:
    """The claims of a verified payload.

    ``sub`` and ``exp`` are required. ``devices`` is a list of ids and patterns, ``groups`` a list of
    names, ``scope`` a list or one text with spaces between (RFC 6749 section 3.3). Anything else is a
    TokenError ``token_invalid`` whose detail names the claim.
    """
    try:
        claims = parse_object(payload)
        return Claims(
            subject=claim(claims, "sub", text_value),
            validity=Validity.parse(claims),
            token_id=optional(claims, "jti", text_value, ""),
            devices=optional(claims, "devices", _patterns, _NOTHING),
            groups=frozenset(optional(claims, "groups", _texts, _NOTHING)) or NO_GROUPS,
            scopes=optional(claims, "scope", _scopes, DEFAULT_SCOPES),
        )
    except ValueError as error:
        raise TokenError("token_invalid", str(error)) from None


def claim(claims: Mapping[str, Any], name: str, parse: Callable[[object], _T]) -> _T:
    """The claim as ``parse`` gives it; ValueError, which names it, when it is missing or wrong."""
    if name not in claims:
        raise ValueError(f"{name} is missing")
    try:
        return parse(claims[name])
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def optional(claims: Mapping[str, Any], name: str, parse: Callable[[object], _T], default: _T) -> _T:
    """The same, with ``default`` where it is missing; null is not missing."""
    return claim(claims, name, parse) if name in claims else default


def text_value(value: object) -> str:
    """A short printable text; ValueError for all else."""
    # isprintable also refuses lone surrogates, line breaks and escape sequences: these texts reach the log.
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CLAIM_CHARS or not value.isprintable():
        raise ValueError(f"is not a printable text of 1 to {MAX_CLAIM_CHARS} characters")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):  # of at most 512 entries: more do not fit MAX_TOKEN_BYTES
        raise ValueError("is not a list")  # noqa: TRY004 - a wrong value from outside, not a wrong call
    return tuple(dict.fromkeys(text_value(entry) for entry in value))


def _patterns(value: object) -> tuple[str, ...]:
    entries = _texts(value)
    for position, entry in enumerate(cast("list[str]", value), start=1):  # as the maker counts, doubles and all
        if not is_pattern(entry):
            raise ValueError(f"entry {position} is neither a device id nor a pattern: use {DEVICE_ID_RULE}")
    return entries


def _scopes(value: object) -> frozenset[str]:
    # Present but empty means no scope at all, unlike absent.
    return _shared(SCOPES.intersection(_texts(value.split() if isinstance(value, str) else value)))


@lru_cache(maxsize=1 << len(SCOPES))
def _shared(scopes: frozenset[str]) -> frozenset[str]:
    """One set for all tokens with the same scopes: a stream keeps it as long as it lives."""
    return scopes
