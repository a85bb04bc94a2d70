"""Who may see what: a request's credential → a verified Principal. Also mints access tokens.

The way in is ``find_credential`` → ``Authenticator.verify`` → ``Principal``. What a client is told is the
``code`` of a TokenError and no more; the reason is its ``detail``, for the log. ``redact`` is for text
that others have written (a request line, a proxy's header) before it is logged.
"""

from __future__ import annotations

import json
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from bridge.access.claims import (
    AUDIENCE_ACCESS,
    MAX_TOKEN_SECONDS,
    SCOPES,
    check_claims,
    parse_claims,
)
from bridge.access.paseto import KeyRing, TokenTooLongError
from bridge.access.principal import Principal
from bridge.core.device_ids import DEVICE_ID_RULE, Allowed, Groups, is_device_id, is_pattern
from bridge.core.errors import TokenError
from bridge.core.limits import MAX_TOKEN_BYTES
from bridge.protocol.frames import timestamp

COOKIE: Final = "telemetry_bridge_token"
SUBPROTOCOL_PREFIX: Final = "bearer."
"""A browser cannot set headers on a WebSocket; it offers the token as one more subprotocol."""
MAX_GROUPS_FILE_BYTES: Final = 16 * 1024 * 1024
"""100,000 devices in ten groups each, at 15 bytes an entry; a log file given by mistake is refused, not read."""
MAX_GROUP_MEMBERS: Final = 10_000
"""Entries of one group. A stream that watches it subscribes to each of them: 4 ms of the loop."""
_TOKEN_ID_BYTES: Final = 12
"""Random bytes of ``jti``: 96 bits, so that two tokens never share one."""

_SECRETS = re.compile(
    r"""
      [kv][1-9](?:\.|%2e)(?:local|public|secret|seal)[a-z-]{0,12}(?:\.|%2e)[\w.%=+/-]+    # PASETO, PASERK
    | eyJ[\w.%=-]{16,}                                                                    # JWT: '{"' in base64
    | (?P<label>token(?:=|%3d|\\?["']\s*:\s*\\?["'])|bearer(?:[\s.+:=]|%20)+)[^\s&"'<>]+  # by what stands before
    """,
    re.VERBOSE | re.IGNORECASE,
)

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
        check_claims(claims, now=now, audience=self._audience, max_seconds=self._max_token_seconds)
        return Principal(
            subject=claims.subject,
            expires_at=claims.expires_at,
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

    ValueError, in words for the person at the shell, for what ``verify`` would refuse, for a scope that
    does not exist, for a ``ttl`` out of range, and for a token above MAX_TOKEN_BYTES (name a group or a
    pattern instead of many ids).
    """
    if not 0 < ttl <= MAX_TOKEN_SECONDS:
        raise ValueError(f"ttl must be above 0 and at most {MAX_TOKEN_SECONDS} seconds ({MAX_TOKEN_SECONDS // 3600} h)")
    scope = sorted(set(scopes))
    if not SCOPES.issuperset(scope):
        raise ValueError(f"unknown scope; there are: {' '.join(sorted(SCOPES))}")
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
    # A lone surrogate passes through here so that parse_claims refuses it in its own words.
    payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    try:
        if len(payload) <= MAX_TOKEN_BYTES:  # a longer one is refused below, in words that help
            parse_claims(payload)
        return ring.seal(payload)
    except TokenError as error:
        raise ValueError(error.detail) from None
    except TokenTooLongError as error:
        raise ValueError(f"{error}; name a group, or a pattern such as truck-*, instead of many ids") from None


def find_credential(headers: Mapping[str, str], cookies: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The token that a request carries, or None. Pure; multi-dicts may hold a name several times.

    Looked for in ``Authorization: Bearer``, a subprotocol ``bearer.<token>``, the cookie and
    ``?token=``. Empty ones count as absent, e.g. the cookie that a log-out left. The same token in two
    places is fine; two different ones are a TokenError ``token_invalid``, since each part of a chain of
    proxies could pick another.
    """
    found: set[str] = set()
    for value in _values(headers, "authorization"):
        scheme, _, credential = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            found.add(credential.strip())
    for value in _values(headers, "sec-websocket-protocol"):
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


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    # Not headers.get(): plain mappings mind the case, and multi-dicts hide all but the first.
    return [value for header, value in headers.items() if header.lower() == name]


def load_groups(path: Path) -> Groups:
    """The groups file: TOML, one table ``groups`` of lists, ``north = ["A", "truck-*"]``.

    ValueError, in words for the operator, when it cannot be read or anything in it is not understood:
    a group that silently lost devices would be worse than no start.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_GROUPS_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"the groups file cannot be read: {error.strerror}") from None
    if len(data) > MAX_GROUPS_FILE_BYTES:
        raise ValueError(f"the groups file has more than {MAX_GROUPS_FILE_BYTES} bytes")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the groups file is not TOML: {error}") from None
    groups = document.pop("groups", None)
    if not isinstance(groups, dict):
        raise ValueError("the groups file has no table [groups]")  # noqa: TRY004 - a wrong file, not a wrong call
    if document:
        raise ValueError(f"the groups file has an unknown key: {next(iter(document))!r}")
    return {name: _members(name, entries) for name, entries in groups.items()}


def _members(name: str, entries: object) -> frozenset[str]:
    if not is_device_id(name):  # a name stands where ids stand: in URLs, between commas
        raise ValueError(f"group {name!r}: a name obeys the rules of a device id")
    if not isinstance(entries, list):
        raise ValueError(f"group {name!r} is not a list of device ids and patterns")  # noqa: TRY004
    if len(entries) > MAX_GROUP_MEMBERS:
        raise ValueError(
            f"group {name!r} has {len(entries):,} entries, the limit is {MAX_GROUP_MEMBERS:,}: "
            "name a pattern such as truck-* instead of its devices, or make several groups"
        )
    for position, entry in enumerate(entries, start=1):
        if not isinstance(entry, str) or not is_pattern(entry):
            raise ValueError(
                f"group {name!r}, entry {position}: neither a device id nor a pattern, which has {DEVICE_ID_RULE} "
                "(but for the * of a pattern)"
            )
    return frozenset(entries)


def redact(text: str) -> str:
    """``text`` with ``***`` for all that looks like a credential, for a log.

    PASETO tokens, PASERK keys, JWTs, and whatever stands after ``token=``, ``"token":`` or ``bearer``,
    also percent-encoded. Rather too much than too little: an innocent word after "bearer" goes as well.
    """
    return _SECRETS.sub(lambda match: f"{match['label'] or ''}***", text)
