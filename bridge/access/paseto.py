"""PASETO v4 tokens: a ring of keys that seals and opens them. The only module that imports pyseto.

It knows nothing of claims: bytes go in, bytes come out. Before any crypto a token must have the one
canonical form, because pyseto 1.10 does not ask for it: its base64 is lenient, so many texts open as the
same token. Even so, never key a cache or a list by token text.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable
from typing import Final

import pyseto

from bridge.core.errors import TokenError
from bridge.core.limits import MAX_TOKEN_BYTES
from bridge.core.strict_json import parse_object

MAX_KEYS: Final = 16
"""Keys of one ring. Rotation needs two; a token without kid is tried against each, at about 50 µs."""
MAX_FOOTER_BYTES: Final = 512
"""Decoded footer. Ours has 62 bytes; it is parsed before the token is verified, so it stays small."""
MAX_FOOTER_BRACKETS: Final = 8
"""Opening brackets in a JSON footer: bounds its nesting before it is parsed, as the PASETO spec asks."""

_KEY_BYTES: Final = {"local": 32, "public": 32, "secret": 64}
# nonce (32) and tag (32); signature (64). Version4.md. pyseto reads a shorter body as overlapping slices.
_MIN_BODY_BYTES: Final = 64
_PASERK = re.compile(r"k([1-9])\.([a-z-]+)\.(.*)", re.DOTALL)
# ++ does not step back: a text of 2 KB that is nearly a token is refused in 5 µs and not in 100.
_TOKEN = re.compile(r"v4\.(local|public)\.([A-Za-z0-9_-]++)(?:\.([A-Za-z0-9_-]++))?")


def generate_key() -> str:
    """A fresh random key, ``k4.local.…``: the secret itself, for the operator's settings only."""
    return pyseto.Key.new(4, "local", secrets.token_bytes(_KEY_BYTES["local"])).to_paserk()


class TokenTooLongError(ValueError):
    """What is to be sealed makes a longer token than ``open`` takes."""


class KeyRing:
    """The keys of one purpose, e.g. access. Immutable; the first key that can mint mints, all verify.

    ``paserks`` are ``k4.local.`` keys (seal and open v4.local), ``k4.public.`` keys (verify another
    service's v4.public) and ``k4.secret.`` keys (sign and verify v4.public). A key that is not exactly
    one of these, a key twice, no key or more than MAX_KEYS is a ValueError that gives the position
    (from 1) and never quotes the key.
    """

    __slots__ = ("by_id", "_by_purpose", "_footer", "_minter")

    def __init__(self, paserks: Iterable[str]) -> None:
        self.by_id: dict[str, pyseto.KeyInterface] = {}
        """``kid`` → the key that it names."""
        self._by_purpose: dict[str, list[pyseto.KeyInterface]] = {"local": [], "public": []}
        self._minter: pyseto.KeyInterface | None = None
        self._footer = b""
        for position, paserk in enumerate(paserks, start=1):
            if position > MAX_KEYS:
                raise ValueError(f"more than {MAX_KEYS} keys")
            try:
                self._add(_parse_key(paserk))
            except ValueError as error:
                raise ValueError(f"key number {position} {error}") from None
        if not self.by_id:
            raise ValueError("no key given")

    def __repr__(self) -> str:
        return f"KeyRing({sum(map(len, self._by_purpose.values()))} keys)"

    @property
    def key_ids(self) -> frozenset[str]:
        """The PASERK ids (``k4.lid.``, ``k4.pid.``, ``k4.sid.``) of all keys; public knowledge.

        Two rings share a key exactly when their ids intersect: a secret key also counts as its public one.
        """
        return frozenset(self.by_id)

    def open(self, token: str, implicit_assertion: bytes = b"") -> bytes:
        """The payload of a token that one of our keys has sealed or signed.

        A ``kid`` in the footer chooses the one key that is tried; without it each key of the token's
        purpose is tried by itself. Everything else is a TokenError ``token_invalid`` whose detail
        holds nothing of the token.
        """
        purpose, key_id = _inspect(token)
        keys = self._by_purpose[purpose]
        if key_id is not None:
            key = self.by_id.get(key_id)
            if key is None or key.purpose != purpose:
                raise TokenError("token_invalid", "kid names no key that we have")
            keys = [key]
        for key in keys:
            payload = _decode(key, token, implicit_assertion)
            if payload is not None:
                return payload
        raise TokenError("token_invalid", "no key opens it")

    def seal(self, payload: bytes, implicit_assertion: bytes = b"") -> str:
        """A token around ``payload`` whose footer names the minting key.

        ValueError when no key can mint or the payload is empty; TokenTooLongError when the token would be
        longer than what ``open`` takes.
        """
        if self._minter is None:
            raise ValueError("no key can mint: k4.public. keys only verify")
        if not payload:
            raise ValueError("the payload is empty")
        sealed = pyseto.encode(self._minter, payload, self._footer, implicit_assertion)
        if len(sealed) > MAX_TOKEN_BYTES:
            raise TokenTooLongError(f"the token would have {len(sealed)} bytes, the limit is {MAX_TOKEN_BYTES}")
        return sealed.decode("ascii")

    def _add(self, key: pyseto.KeyInterface) -> None:
        # A verifier knows only the public half of a k4.secret. key, so its pid is the kid of our tokens.
        key_id = key.to_peer_paserk_id() or key.to_paserk_id()
        if key_id in self.by_id:
            raise ValueError("is given twice")
        self.by_id[key_id] = self.by_id[key.to_paserk_id()] = key
        self._by_purpose[key.purpose].append(key)
        if self._minter is None and key.is_secret:
            self._minter = key
            self._footer = json.dumps({"kid": key_id}, separators=(",", ":")).encode("ascii")


def _parse_key(paserk: object) -> pyseto.KeyInterface:
    """The key, or ValueError with a predicate such as "is of version k3"."""
    match = _PASERK.fullmatch(paserk) if isinstance(paserk, str) else None
    if match is None:
        raise ValueError("is not a PASERK key (k4.local.…)")
    version, kind, body = match.groups()
    if version != "4":
        raise ValueError(f"is of version k{version}, only k4 is accepted")
    if kind in {"lid", "pid", "sid"}:
        raise ValueError("is the id of a key, not the key")
    if kind not in _KEY_BYTES:
        raise ValueError("is neither k4.local. nor k4.public. nor k4.secret.")
    raw = _from_base64url(body)
    if raw is None:
        raise ValueError("is not canonical base64url without padding")
    if len(raw) != _KEY_BYTES[kind]:  # pyseto takes 1 to 64 bytes; Version4.md and PASERK fix the length
        raise ValueError(f"has {len(raw)} bytes, k4.{kind}. needs {_KEY_BYTES[kind]}")
    key = pyseto.Key.from_paserk(match.string)
    if key.to_paserk() != paserk:  # pyseto never looks at the public half of a secret key
        raise ValueError("is a secret key whose two halves do not match")
    return key


def _inspect(token: object) -> tuple[str, str | None]:
    """Purpose and ``kid`` of a token in canonical form; all that can be refused without crypto is refused here."""
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise TokenError("token_invalid", f"not ASCII text of at most {MAX_TOKEN_BYTES} bytes")
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise TokenError("token_invalid", "not a v4.local or v4.public token")
    purpose, body, footer_text = match.groups()
    raw, footer = _from_base64url(body), _from_base64url(footer_text or "")
    if raw is None or footer is None:
        raise TokenError("token_invalid", "not canonical base64url")
    if len(raw) < _MIN_BODY_BYTES:
        raise TokenError("token_invalid", "too short")
    return purpose, _key_id(footer)


def _key_id(footer: bytes) -> str | None:
    """The ``kid`` of a JSON footer; None for a footer that is not a JSON object or has none."""
    if len(footer) > MAX_FOOTER_BYTES:
        raise TokenError("token_invalid", f"footer of more than {MAX_FOOTER_BYTES} bytes")
    if not footer.lstrip().startswith(b"{"):
        return None
    if footer.count(b"{") + footer.count(b"[") > MAX_FOOTER_BRACKETS:
        raise TokenError("token_invalid", "footer is nested too deeply")
    try:
        fields = parse_object(footer)
    except ValueError:
        raise TokenError("token_invalid", "footer is neither plain text nor strict JSON") from None
    if "kid" not in fields:
        return None
    key_id = fields["kid"]
    if not isinstance(key_id, str):
        raise TokenError("token_invalid", "kid is not a text")
    return key_id


def _decode(key: pyseto.KeyInterface, token: str, implicit_assertion: bytes) -> bytes | None:
    """The payload, or None when ``key`` does not open ``token``.

    One key and no deserializer: with a list of keys pyseto reports an expired token as a TypeError, and
    its own check of claims asks neither for ``exp`` nor an injected clock.
    """
    try:
        payload = pyseto.decode(key, token, implicit_assertion).payload
    except Exception:  # pyseto's errors share no root with the ValueError and TypeError that it also raises
        return None
    return payload if isinstance(payload, bytes) else None


def _from_base64url(text: str) -> bytes | None:
    """The bytes of canonical, unpadded base64url (RFC 4648 section 5); None when another text means the same."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:  # a length of 4n+1, or characters outside ASCII
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == text.encode("ascii") else None
