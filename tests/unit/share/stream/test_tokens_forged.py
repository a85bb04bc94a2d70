"""What is not letter for letter a share token that somebody with the share key has made opens nothing."""

from __future__ import annotations

import base64
import string
import tracemalloc
from typing import Any

import pyseto
import pytest

from bridge.access.authenticator import Authenticator
from bridge.access.authenticator import mint as mint_access
from bridge.access.paseto import KeyRing
from bridge.core.errors import TokenError
from bridge.core.limits import MAX_TOKEN_BYTES
from share.stream.tokens import mint
from tests.share_tokens import ACCESS_KEY, INVALID, KEY, NOW, OTHER_KEY, RING, claims_at, footer_of, opens, seal
from tests.tokens import PUBLIC_KEY, SECRET_KEY, b64, last_character_variants

OURS = mint(RING, "0123456789ab", expires_at=NOW + 600, now=NOW)
THEIRS = seal(claims_at(NOW))
BASE64URL = string.ascii_letters + string.digits + "-_"
JUNK = "=.!~+/%, \t\n\r\x00\x7fé٠Ａ\u200b\U0001f69a"
BOTH = pytest.mark.parametrize("token", [OURS, THEIRS], ids=["ours", "another maker's"])
HEADER, BODY, FOOTER = "v4.local", *OURS.split(".")[2:]


def detail_of(token: Any, ring: KeyRing = RING) -> str:
    """The detail with which ``token`` is refused; the code is always token_invalid."""
    with pytest.raises(TokenError) as caught:
        opens(token, ring)
    assert caught.value.code == INVALID
    return caught.value.detail


def neighbours(character: str) -> set[str]:
    """What a character is most easily taken for: flipped bits, the next of the alphabet, the other case."""
    near = {chr(ord(character) ^ 1 << bit) for bit in range(7)} | {character.swapcase()}
    place = BASE64URL.find(character)
    if place >= 0:
        near |= {BASE64URL[place - 1], BASE64URL[(place + 1) % 64], BASE64URL[place ^ 32]}
    return near - {character}


@BOTH
def test_every_changed_character_is_refused(token: str) -> None:
    """At every position, for its neighbours, for padding and the dot, for junk and for other scripts."""
    opens(token)
    for position, character in enumerate(token):
        for other in (neighbours(character) | set(JUNK)) - {character}:
            detail_of(token[:position] + other + token[position + 1 :])


@BOTH
def test_every_inserted_and_every_missing_character_is_refused(token: str) -> None:
    """At every position, the ends among them."""
    for position in range(len(token) + 1):
        for junk in (*JUNK, "A", "_", "!!!!", "===="):
            detail_of(token[:position] + junk + token[position:])
    for position in range(len(token)):
        detail_of(token[:position] + token[position + 1 :])


@BOTH
def test_every_truncation_is_refused(token: str) -> None:
    """From either end, down to one character."""
    for length in range(1, len(token)):
        detail_of(token[:length])
        detail_of(token[-length:])


@BOTH
def test_token_has_only_one_spelling(token: str) -> None:
    """Unused last bits of body and footer, and padding: pyseto alone would take them."""
    header, parts = "v4.local.", token.split(".")[2:]
    for place, part in enumerate(parts):
        for other in (*last_character_variants(part), *(part + "=" * n for n in (1, 2, 3))):
            detail_of(header + ".".join([*parts[:place], other, *parts[place + 1 :]]))


def elsewhere(version: int, purpose: str, key: str = KEY) -> str:
    """A genuine token of another version or purpose, under the very bytes of our key where it has that kind."""
    payload = pyseto.decode(pyseto.Key.from_paserk(KEY), THEIRS).payload
    assert isinstance(payload, bytes)
    if purpose == "public":
        return pyseto.encode(pyseto.Key.from_paserk(key), payload).decode()
    raw = base64.urlsafe_b64decode(KEY[9:] + "=")
    return pyseto.encode(pyseto.Key.new(version, "local", raw), payload).decode()


NO_TOKEN = "not a v4.local token"
NO_FORM = "not a v4.local or v4.public token"
NO_SIZE = "not ASCII text of at most 2048 bytes"
FOREIGN: dict[str, tuple[str, str]] = {
    "v1.local": (f"v1.local.{BODY}", NO_TOKEN),
    "v2.local": (elsewhere(2, "local"), NO_TOKEN),
    "v3.local": (elsewhere(3, "local"), NO_TOKEN),
    "v5.local": (f"v5.local.{BODY}.{FOOTER}", NO_TOKEN),
    "v2.public": (f"v2.public.{BODY}", NO_TOKEN),
    "v3.public": (f"v3.public.{BODY}", NO_TOKEN),
    "v4.public, genuine": (elsewhere(4, "public", SECRET_KEY), NO_TOKEN),
    "v4.public, our body": (f"v4.public.{BODY}.{FOOTER}", NO_TOKEN),
    "JWT": ("eyJhbGciOiJIUzI1NiJ9.eyJkZXZpY2VfaWQiOiJ0cnVjay03In0.c2lnbmF0dXJl", NO_TOKEN),
    "JWT without algorithm": ("eyJhbGciOiJub25lIn0.eyJkZXZpY2VfaWQiOiJ0cnVjay03In0.", NO_TOKEN),
    "PASERK key": (KEY, NO_TOKEN),
    "a word": ("token", NO_TOKEN),
    "header only": ("v4.local", NO_TOKEN),
    "empty body": ("v4.local.", NO_FORM),
    "empty body and footer": ("v4.local..", NO_FORM),
    "empty footer": (f"v4.local.{BODY}.", NO_FORM),
    "no footer": (f"v4.local.{BODY}", "no key opens it"),
    "three segments": (f"v4.{BODY}.{FOOTER}", NO_TOKEN),
    "five segments": (f"{OURS}.{FOOTER}", NO_FORM),
    "upper case": (OURS.upper(), NO_TOKEN),
    "blank before": (f" {OURS}", NO_TOKEN),
    "blank behind": (f"{OURS} ", NO_FORM),
    "line break behind": (f"{OURS}\n", NO_FORM),
    "with Bearer": (f"Bearer {OURS}", NO_TOKEN),
    "quoted": (f'"{OURS}"', NO_TOKEN),
    "twice": (OURS + OURS, NO_FORM),
    "percent-encoded": (OURS.replace(".", "%2E"), NO_TOKEN),
    "not ASCII": (f"v4.local.{BODY[:-1]}é", NO_SIZE),
    "digits of another script": ("v4.local.\u0661\u0662", NO_SIZE),
    "a lone surrogate": ("v4.local.\ud800", NO_SIZE),
    "too short for nonce and tag": ("v4.local." + b64(bytes(63)), "too short"),
    "nothing but zeros": ("v4.local." + b64(bytes(200)), "no key opens it"),
    "2048 characters": ("v4.local." + "A" * (MAX_TOKEN_BYTES - 9), "no key opens it"),
    "a length that no bytes have": ("v4.local." + "A" * 401, "not canonical base64url"),
    "2049 characters": ("v4.local." + "A" * (MAX_TOKEN_BYTES - 8), NO_SIZE),
    "one megabyte": ("v4.local." + "A" * (1 << 20), NO_SIZE),
    "one megabyte of dots": ("v4.local." + "." * (1 << 20), NO_SIZE),
    "one megabyte, not ASCII": ("v4.local." + "é" * (1 << 20), NO_SIZE),
    "one megabyte of junk": ("A" * (1 << 20), NO_TOKEN),
    "a longest footer": (f"v4.local.{b64(bytes(64))}.{b64(bytes(513))}", "footer of more than 512 bytes"),
    "a deep footer": (f"v4.local.{b64(bytes(64))}.{b64(b'{' * 400)}", "footer is nested too deeply"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_token_of_ours_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other versions, purposes and formats, wrong segments, other scripts, too short, too long: before any crypto."""
    token, detail = FOREIGN[name]
    assert detail_of(token) == detail
    if detail != "no key opens it":
        monkeypatch.setattr("pyseto.decode", lambda *_: pytest.fail("crypto was asked"))
        assert detail_of(token) == detail


def test_genuine_public_token_is_none_of_ours_even_where_the_ring_could_open_it() -> None:
    """Purpose and kind are part of the promise: a share token is v4.local, whatever keys there are."""
    token = elsewhere(4, "public", SECRET_KEY)
    ring = KeyRing([KEY, PUBLIC_KEY])
    assert ring.open(token)
    assert detail_of(token, ring) == NO_TOKEN


def test_megabyte_is_refused_without_a_copy() -> None:
    """What anyone may send costs no memory either."""
    token = "v4.local." + "A" * (1 << 20)
    detail_of(token)
    tracemalloc.start()
    try:
        detail_of(token)
        assert tracemalloc.get_traced_memory()[1] < len(token) // 2  # other threads have their part in it
    finally:
        tracemalloc.stop()


def access(key: str) -> str:
    """An access token."""
    return mint_access(
        KeyRing([key]), subject="x", devices=["truck-7"], groups=(), scopes=["share", "stream"], ttl=600, now=NOW
    )


@pytest.mark.parametrize(
    "token, detail",
    [
        (access(ACCESS_KEY), "kid names no key that we have"),
        (access(KEY), "exactly one of share_id, device_id and device_ids is needed"),
        (seal(claims_at(NOW), ACCESS_KEY), "no key opens it"),
        (seal(claims_at(NOW), ACCESS_KEY, footer_of(KEY)), "no key opens it"),
        (mint(KeyRing([ACCESS_KEY]), "a", expires_at=NOW + 600, now=NOW), "kid names no key that we have"),
        (mint(KeyRing([OTHER_KEY]), "a", expires_at=NOW + 600, now=NOW), "kid names no key that we have"),
        (RING.seal(b'{"share_id":"a"}', b"share"), "no key opens it"),
        (seal(claims_at(NOW, aud="telemetry-bridge")), "aud names another audience"),
    ],
    ids=[
        "access token", "access token, share key", "claims of a share, access key", "the same with our kid",
        "share token, access key", "share token, another key", "implicit assertion", "aud of access tokens",
    ],
)  # fmt: skip
def test_token_of_another_purpose_is_refused(token: str, detail: str) -> None:
    """By the key; by the claims where somebody made it with the share key."""
    assert detail_of(token) == detail


def test_share_token_is_no_access_token() -> None:
    """Neither by its key nor, if somebody shared that, by its claims and its audience."""
    for token in (OURS, THEIRS, seal(claims_at(NOW, sub="x", aud="telemetry-bridge/share-location"))):
        for ring in (KeyRing([ACCESS_KEY]), RING):
            with pytest.raises(TokenError, match=r"^token_invalid"):
                Authenticator(ring, {}).verify(token, NOW)
