"""Which key opens a token: wrong keys, tricks with kid and footer, other purposes."""

from __future__ import annotations

import json
from typing import Any

import pyseto
import pytest

from bridge.access.paseto import MAX_FOOTER_BYTES, KeyRing, generate_key
from tests.tokens import (
    KEY,
    OTHER_KEY,
    PAYLOAD,
    PUBLIC_KEY,
    RING,
    SECRET_KEY,
    TOKEN,
    made_elsewhere,
    refusal,
)


def test_wrong_key_is_refused() -> None:
    """A token of another key is refused with its kid, without one, and with the kid of our key."""
    stranger = generate_key()
    assert refusal(KeyRing([stranger]).seal(PAYLOAD)) == "kid names no key that we have"
    assert refusal(made_elsewhere(key=stranger)) == "no key opens it"
    ours = json.dumps({"kid": pyseto.Key.from_paserk(KEY).to_paserk_id()})
    assert refusal(made_elsewhere(ours, stranger)) == "no key opens it"


def test_kid_of_another_key_of_the_ring_is_refused() -> None:
    """A kid chooses exactly one key: the token is not tried against the others."""
    footer = json.dumps({"kid": pyseto.Key.from_paserk(OTHER_KEY).to_paserk_id()})
    assert refusal(made_elsewhere(footer, KEY)) == "no key opens it"


def test_kid_of_the_other_purpose_is_refused() -> None:
    """A v4.local token cannot choose a public key, nor a v4.public token a shared one."""
    ring = KeyRing([KEY, SECRET_KEY])
    local_id, public_id = (pyseto.Key.from_paserk(key).to_paserk_id() for key in (KEY, PUBLIC_KEY))
    assert "no key that we have" in refusal(made_elsewhere(json.dumps({"kid": public_id}), KEY), ring)
    assert "no key that we have" in refusal(made_elsewhere(json.dumps({"kid": local_id}), SECRET_KEY), ring)


def test_public_key_as_shared_key_does_not_forge() -> None:
    """Key confusion: what everyone knows of a v4.public key opens nothing as v4.local."""
    forged = made_elsewhere(key="k4.local." + PUBLIC_KEY[10:])
    refusal(forged, KeyRing([PUBLIC_KEY]))


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "unknown",
        "../../etc/passwd",
        "..\\..\\key",
        "' OR 1=1 --",
        "k4.lid.",
        "k4.lid." + "A" * 44,
        KEY,
        "\r\nSet-Cookie: a=b",
        "\x1b[31m",
        "\ud800",
        "x" * 400,
        None,
        0,
        True,
        1.5,
        {},
        ["k4.lid."],
    ],
    ids=lambda kid: "a key" if kid == KEY else repr(kid)[:24],  # nothing random, see test_paseto
)
def test_kid_that_names_none_of_our_keys_is_refused_and_not_repeated(kid: Any) -> None:
    """Genuine tokens with every sort of trick for a kid: refused, and the detail for the log holds none of it."""
    detail = refusal(made_elsewhere(json.dumps({"kid": kid})))
    assert detail in {"kid names no key that we have", "kid is not a text"}


@pytest.mark.parametrize(
    "footer",
    [
        b"x" * (MAX_FOOTER_BYTES + 1),
        b'{"kid":"' + b"x" * 1000 + b'"}',
        b'{"kid":',
        b"{",
        b"  {",
        b'{"kid":"a","kid":"b"}',
        b'{"a":{"kid":1,"kid":2}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 400,
        b'{"a":' * 60 + b"1" + b"}" * 60,
        b'{"kid":"' + b"[" * 9 + b'"}',
    ],
    ids=lambda footer: repr(footer[:24]),
)
def test_footer_that_is_too_big_or_not_strict_is_refused(footer: bytes) -> None:
    """The footer is read before it is verified, so it is bounded in length, depth and grammar."""
    refusal(made_elsewhere(footer))


def test_footer_at_its_limits_is_taken() -> None:
    """512 bytes and eight brackets still pass."""
    assert RING.open(made_elsewhere(b"x" * MAX_FOOTER_BYTES)) == PAYLOAD
    assert RING.open(made_elsewhere(b'{"a":[[[[[[[]]]]]]]}')) == PAYLOAD


def test_ten_kilobyte_kid_is_refused_by_length() -> None:
    """A token of more than 2 KiB is not looked into."""
    assert "2048" in refusal(made_elsewhere(json.dumps({"kid": "x" * 10_000})))


def test_token_for_another_purpose_is_refused() -> None:
    """The implicit assertion binds a token to a use: another one, or none, does not open it."""
    token = RING.seal(PAYLOAD, b"share")
    assert RING.open(token, b"share") == PAYLOAD
    for assertion in (b"", b"access", b"share "):
        assert refusal(token, RING, assertion) == "no key opens it"
    refusal(TOKEN, RING, b"share")


def test_details_hold_nothing_of_the_token() -> None:
    """What goes to the log on a refusal has no eight characters in a row from the token."""
    for token in (
        TOKEN[:-1],
        f"{TOKEN}=",
        made_elsewhere(key=generate_key()),
        made_elsewhere(b'{"kid":"secretsecret"}'),
    ):
        detail = refusal(token)
        secret = token.removeprefix("v4.local.")
        assert not any(secret[i : i + 8] in detail for i in range(len(secret) - 7))
