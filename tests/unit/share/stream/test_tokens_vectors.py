"""Tokens that others have made: the official PASETO vectors, and paseto-ts."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from bridge.access.paseto import KeyRing
from bridge.core.errors import TokenError
from bridge.core.times import parse_time
from share.model.grant import DEFAULT_FIELDS, Grant
from share.stream.tokens import Ticket
from tests import vectors
from tests.mosquitto import REPOSITORY
from tests.share_tokens import EXPIRED, INVALID, check_ticket, opens
from tests.tokens import last_character_variants
from tests.unit.access.test_paseto_vectors import vector_ring

AT: Final = parse_time("2021-12-31T23:59:00Z")
"""A minute before the official tokens end."""
FOREIGN: Final = json.loads((REPOSITORY / "tests" / "real" / "paseto_ts" / "vectors.json").read_text())
"""Made by paseto-ts, see ``make.mjs`` beside it; that it makes the same again is tested where Node.js is."""
NOW, END = parse_time(FOREIGN["now"]), parse_time("2030-01-31T12:00:00Z")
TOKENS: Final[dict[str, str]] = {one["name"]: one["token"] for one in FOREIGN["tokens"]}
RING: Final = KeyRing([FOREIGN["key"]])
TRUCK: Final = (("truck-7", "Device"),)
PLAIN: Final = Ticket(END, None, Grant(TRUCK))
EXPECTED: Final[dict[str, Ticket | str]] = {
    "one device": PLAIN,
    "one device, our kid": PLAIN,
    "one device, a footer of text": PLAIN,
    "one device, a footer without kid": PLAIN,
    "several devices": Ticket(
        END, None, Grant((("truck-7", "Device 1"), ("truck-8", "Device 2"), ("Zürich-9", "Device 3")))
    ),
    "every registered claim": PLAIN,
    "narrowed": Ticket(
        END,
        None,
        Grant(TRUCK, parse_time("2030-01-31T11:40:00Z"), frozenset({"time", "speed_kmh"}), 250.5, 30.0, 20),
        "Lieferung 4711 – heute",
    ),
    "nothing but the place": Ticket(END, None, Grant(TRUCK, fields=frozenset())),
    "a stored share": Ticket(END, "0123456789ab", None),
    "a kid of its own": "token_invalid: kid names no key that we have",
    "another audience": "token_invalid: aud names another audience",
    "expired": "token_expired: exp has passed",
    "not yet valid": "token_not_yet_valid: nbf is in the future",
    "no end": "token_invalid: exp is missing",
    "no device": "token_invalid: exactly one of share_id, device_id and device_ids is needed",
}


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_of_paseto_ts_mean_here_what_they_mean_there(name: str) -> None:
    """Every kind of token, footer and claim, made by code that shares nothing with ours."""
    expected = EXPECTED[name]
    if isinstance(expected, Ticket):
        ticket = opens(TOKENS[name], RING, NOW)
        check_ticket(ticket, NOW)
        assert ticket == expected
        assert opens(TOKENS[name], RING, END - 0.001) == expected
        with pytest.raises(TokenError, match=f"^{EXPIRED}"):
            opens(TOKENS[name], RING, END)
    else:
        with pytest.raises(TokenError) as caught:
            opens(TOKENS[name], RING, NOW)
        assert str(caught.value) == expected


def test_no_token_of_paseto_ts_is_left_out() -> None:
    """What is expected and what was made are the same tokens; the plain one shows what it is by default."""
    assert TOKENS.keys() == EXPECTED.keys()
    assert PLAIN.grant is not None and PLAIN.grant.fields == DEFAULT_FIELDS


def refusal(ring: KeyRing, token: str, at: float = AT) -> str:
    """The detail with which a token is refused; the code is always token_invalid."""
    with pytest.raises(TokenError) as caught:
        opens(token, ring, at)
    assert caught.value.code == INVALID
    return caught.value.detail


def official() -> list[dict[str, Any]]:
    """All vectors of version 4: local and public, must-pass and must-fail."""
    found = vectors.load("v4")
    assert len(found) >= 15
    return found


def test_official_local_tokens_are_opened_and_then_refused_for_what_they_say() -> None:
    """The seal of each is taken, for its payload is known; that it names no share and no device refuses it."""
    taken = 0
    for vector in official():
        token = vector["token"]
        if vector["expect-fail"] or not token.startswith("v4.local."):
            continue
        ring = vector_ring(vector)
        assertion = vector["implicit-assertion"].encode()
        assert ring.open(token, assertion) == vector["payload"].encode()
        # Share tokens have no implicit assertion: one with any is for another use.
        expected = "no key opens it" if assertion else "exactly one of share_id, device_id and device_ids is needed"
        assert refusal(ring, token) == expected, vector["name"]
        taken += not assertion
    assert taken >= 6


def test_official_public_tokens_are_refused() -> None:
    """Before any crypto, though the ring has their key and opens them."""
    refused = 0
    for vector in official():
        if vector["expect-fail"] or not vector["token"].startswith("v4.public."):
            continue
        ring = vector_ring(vector)
        assert ring.open(vector["token"], vector["implicit-assertion"].encode()) == vector["payload"].encode()
        assert refusal(ring, vector["token"]) == "not a v4.local token"
        refused += 1
    assert refused >= 3


def test_official_must_fail_tokens_are_refused() -> None:
    """4-F-1 to 4-F-3 as they are: a wrong purpose, a wrong version, a changed tag."""
    names = set()
    for vector in official():
        if vector["expect-fail"]:
            assert refusal(vector_ring(vector), vector["token"])
            names.add(vector["name"])
    assert names >= {"4-F-1", "4-F-2", "4-F-3"}


def test_official_tokens_in_another_spelling_are_refused() -> None:
    """4-F-4 and 4-F-5 of later editions: unused last bits and padding, made here of every token."""
    spelled = 0
    for vector in official():
        if vector["expect-fail"] or not vector["token"].startswith("v4.local."):
            continue
        _, _, body, *footer = vector["token"].split(".")
        for other in (*last_character_variants(body), body + "=" * (-len(body) % 4 or 4), f"{body[:9]}!!!!{body[9:]}"):
            detail = refusal(vector_ring(vector), ".".join(["v4.local", other, *footer]))
            assert detail in {"not canonical base64url", "not a v4.local or v4.public token"}
            spelled += 1
    assert spelled > 18
