"""The ring of keys: what it opens, what it mints, and which keys it takes."""

from __future__ import annotations

import base64
import json
from itertools import count
from typing import Any

import pyseto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.access.paseto import MAX_KEYS, KeyRing, generate_key
from bridge.core.limits import MAX_TOKEN_BYTES
from tests.tokens import (
    KEY,
    OTHER_KEY,
    PAYLOAD,
    PUBLIC_KEY,
    RING,
    SECRET_KEY,
    TOKEN,
    b64,
    made_elsewhere,
)


def test_what_is_sealed_opens_again() -> None:
    """A ring opens its own tokens and finds the payload byte for byte."""
    assert RING.open(TOKEN) == PAYLOAD


@given(payload=st.binary(min_size=1, max_size=1000), assertion=st.binary(max_size=50))
def test_any_payload_survives_with_its_implicit_assertion(payload: bytes, assertion: bytes) -> None:
    """The codec knows nothing of JSON: every payload and every implicit assertion comes through."""
    assert RING.open(RING.seal(payload, assertion), assertion) == payload


def test_footer_names_the_minting_key() -> None:
    """Another verifier can choose the key by the PASERK id in the footer."""
    footer = json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[3] + "=="))
    assert footer == {"kid": pyseto.Key.from_paserk(KEY).to_paserk_id()}


def test_first_key_mints_and_all_verify() -> None:
    """Rotation: a new key goes first, and tokens of the old one keep working."""
    old, new = KeyRing([KEY]), KeyRing([OTHER_KEY, KEY])
    assert new.open(old.seal(PAYLOAD)) == PAYLOAD
    assert KeyRing([OTHER_KEY]).open(new.seal(PAYLOAD)) == PAYLOAD


@pytest.mark.parametrize(
    "footer", [b"", b"{}", b'{"for":"a friend"}', b"plain text", b"\xff\xfe", b'["kid"]', b'"kid"']
)
@pytest.mark.parametrize("key", [KEY, OTHER_KEY], ids=["first key", "second key"])
def test_token_without_kid_is_tried_against_each_key(key: str, footer: bytes) -> None:
    """Other makers' footers are theirs: without a kid every key of the ring is asked."""
    assert RING.open(made_elsewhere(footer, key)) == PAYLOAD


def test_public_key_verifies_another_service() -> None:
    """A ring with k4.public. opens what the holder of k4.secret. has signed, with and without a kid."""
    ring = KeyRing([KEY, PUBLIC_KEY])
    assert ring.open(KeyRing([SECRET_KEY]).seal(PAYLOAD)) == PAYLOAD
    assert ring.open(made_elsewhere(key=SECRET_KEY)) == PAYLOAD
    secret_key_id = pyseto.Key.from_paserk(SECRET_KEY).to_paserk_id()
    assert KeyRing([SECRET_KEY]).open(made_elsewhere(json.dumps({"kid": secret_key_id}), SECRET_KEY)) == PAYLOAD


def test_ring_that_only_verifies_cannot_mint() -> None:
    """The error names the lack of a minting key; a later key that can mint is found."""
    with pytest.raises(ValueError, match="no key can mint"):
        KeyRing([PUBLIC_KEY]).seal(PAYLOAD)
    assert KeyRing([PUBLIC_KEY, KEY]).seal(PAYLOAD).startswith("v4.local.")


def test_token_that_nobody_would_take_is_not_minted() -> None:
    """The longest token still opens; one byte more of payload is refused when minting, as is none at all."""
    ring = KeyRing([KEY])
    around = len(ring.seal(b"x")) - len(b64(b"x" * 65))
    longest = (MAX_TOKEN_BYTES - around) * 3 // 4 - 64
    token = ring.seal(b"x" * longest)
    assert MAX_TOKEN_BYTES - 2 < len(token) <= MAX_TOKEN_BYTES
    assert ring.open(token) == b"x" * longest
    with pytest.raises(ValueError, match="the limit is 2048"):
        ring.seal(b"x" * (longest + 1))
    with pytest.raises(ValueError, match="empty"):
        ring.seal(b"")


def test_rings_tell_whether_they_share_a_key() -> None:
    """Equal access and share keys are seen by their ids, a secret and its public key included."""
    assert KeyRing([KEY]).key_ids & RING.key_ids
    assert KeyRing([SECRET_KEY]).key_ids & KeyRing([PUBLIC_KEY]).key_ids
    assert not KeyRing([KEY]).key_ids & KeyRing([OTHER_KEY, PUBLIC_KEY]).key_ids


def test_ring_does_not_show_its_keys() -> None:
    """A ring in a log line or a traceback gives a count and no key."""
    assert repr(KeyRing([KEY, PUBLIC_KEY])) == "KeyRing(2 keys)"


@pytest.mark.parametrize(
    "key, reason",
    [
        ("", "not a PASERK key"),
        ("0123456789abcdef0123456789abcdef", "not a PASERK key"),
        (KEY[9:], "not a PASERK key"),
        (f" {KEY}", "not a PASERK key"),
        (b"k4.local.", "not a PASERK key"),
        (None, "not a PASERK key"),
        ("k2" + KEY[2:], "version k2"),
        ("k3" + KEY[2:], "version k3"),
        ("k4.local-pw." + KEY[9:], "neither k4.local. nor"),
        ("k4.local-wrap.pie." + KEY[9:], "neither k4.local. nor"),
        ("k4.seal." + KEY[9:], "neither k4.local. nor"),
        (next(iter(KeyRing([KEY]).key_ids)), "id of a key"),
        ("k4.local.", "has 0 bytes, k4.local. needs 32"),
        ("k4.local." + b64(b"x" * 31), "has 31 bytes"),
        ("k4.local." + b64(b"x" * 33), "has 33 bytes"),
        ("k4.local." + b64(b"x" * 64), "has 64 bytes"),
        ("k4.public." + b64(b"x" * 31), "has 31 bytes"),
        ("k4.secret." + SECRET_KEY[10:53], "has 32 bytes, k4.secret. needs 64"),
        (f"{KEY}=", "canonical"),
        (f"{KEY}\n", "canonical"),
        (KEY[:20] + "!" + KEY[20:], "canonical"),
        (KEY[:20] + "é" + KEY[21:], "canonical"),
        ("k4.local." + b64(b"x" * 32)[:-1] + "B", "canonical"),
        (f"{KEY}.{KEY}", "canonical"),
        ("k4.secret." + b64(b"x" * 64), "halves"),
    ],
    ids=count(),  # the keys are random, and two processes must find the same tests
)
def test_key_that_is_not_exactly_right_is_refused_without_being_quoted(key: Any, reason: str) -> None:
    """A wrong key stops the start, with its position and what is wrong, and nothing of its text."""
    with pytest.raises(ValueError, match=r"^key number 2 ") as caught:
        KeyRing([KEY, key])
    assert reason in str(caught.value)
    body = str(key).rpartition(".")[2]
    assert len(body) < 8 or not any(body[i : i + 8] in str(caught.value) for i in range(len(body) - 7))


@pytest.mark.parametrize("pair", [(KEY, KEY), (SECRET_KEY, PUBLIC_KEY), (PUBLIC_KEY, SECRET_KEY)])
def test_key_given_twice_is_refused(pair: tuple[str, str]) -> None:
    """A key twice, also as secret and public key, is a slip in the settings and is said."""
    with pytest.raises(ValueError, match="key number 2 is given twice"):
        KeyRing(pair)


def test_ring_is_neither_empty_nor_large() -> None:
    """No key is a slip; the number of keys bounds the cost of a token without kid."""
    with pytest.raises(ValueError, match="no key given"):
        KeyRing([])
    with pytest.raises(ValueError, match="more than 16 keys"):
        KeyRing(generate_key() for _ in range(MAX_KEYS + 1))
    assert repr(KeyRing(generate_key() for _ in range(MAX_KEYS))) == "KeyRing(16 keys)"


def test_generated_keys_differ_and_fit() -> None:
    """What keygen gives are k4.local. keys that a ring takes, never the same twice."""
    keys = {generate_key() for _ in range(50)}
    assert len(keys) == 50
    assert len(KeyRing(list(keys)[:MAX_KEYS]).key_ids) == MAX_KEYS
