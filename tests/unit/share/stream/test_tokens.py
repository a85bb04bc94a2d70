"""What a share token opens, and until when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.access.claims import LEEWAY_SECONDS
from bridge.core.errors import TokenError
from bridge.core.times import timestamp
from share.model.grant import DEFAULT_FIELDS, FIELDS, Grant
from share.model.limits import MAX_DEVICES
from share.stream.tokens import AUDIENCE_SHARE, Ticket, mint
from tests.share_tokens import INVALID, MAX_SECONDS, NOW, RING, check_ticket, claims_at, opens, seal, wrong_claims

WRONG = wrong_claims(NOW)
TRUCK = (("truck-7", "Device"),)


def refused(token: str | None, now: float = NOW) -> TokenError:
    """How ``token`` is refused."""
    with pytest.raises(TokenError) as caught:
        opens(token, now=now)
    return caught.value


def grant_of(**changes: Any) -> Grant:
    """What a token with these claims grants."""
    ticket = opens(seal(claims_at(NOW, **changes)))
    check_ticket(ticket)
    assert ticket.grant is not None
    return ticket.grant


def test_our_token_names_its_share_and_nothing_else() -> None:
    """What is minted opens that share until then, by the audience of share links, with an id that no other has."""
    tokens = [mint(RING, "0123456789ab", expires_at=NOW + 600, now=NOW) for _ in range(2)]
    assert opens(tokens[0]) == Ticket(NOW + 600, "0123456789ab", None)
    first, second = (json.loads(RING.open(token)) for token in tokens)
    assert first.keys() == {"aud", "jti", "iat", "exp", "share_id"}
    assert first["aud"] == AUDIENCE_SHARE
    assert first["jti"] != second["jti"]


def test_token_of_another_service_names_devices() -> None:
    """One is called Device, several are numbered in their order; doubles count once. No alias tells an id."""
    assert grant_of().aliases == TRUCK
    assert grant_of(device_id=None, device_ids=["truck-7"]).aliases == TRUCK
    assert grant_of(device_id=None, device_ids=["b", "a", "b"]).aliases == (("b", "Device 1"), ("a", "Device 2"))
    assert grant_of(device_id="Device").aliases == (("Device", "Device1"),)
    assert grant_of(device_id=None, device_ids=["1", "b"]).aliases == (("1", "Device 2"), ("b", "Device 3"))
    most = [f"device-{number}" for number in range(MAX_DEVICES)]
    assert grant_of(device_id=None, device_ids=most).device_ids == tuple(most)


def test_what_is_not_said_is_shown_as_ever() -> None:
    """Without narrowing: the fields of a share, exact, at once, no past positions, from whenever."""
    assert grant_of() == Grant(TRUCK, None, DEFAULT_FIELDS, 0.0, 0.0, 0)


@pytest.mark.parametrize(
    "claim, value, shown",
    [
        ("fields", list(FIELDS), frozenset(FIELDS)),
        ("fields", [], frozenset()),
        ("fields", ["time", "time"], frozenset({"time"})),
        ("precision_m", 0, 0.0),
        ("precision_m", 10, 10.0),
        ("precision_m", 250.5, 250.5),
        ("precision_m", 100_000, 100_000.0),
        ("delay_s", 0, 0.0),
        ("delay_s", 0.5, 0.5),
        ("delay_s", 3600, 3600.0),
        ("trail", 0, 0),
        ("trail", 20.0, 20),
        ("trail", 500, 500),
        ("starts_at", timestamp(NOW - 60), NOW - 60),
        ("starts_at", "0001-01-01T00:00:00Z", -62135596800.0),
        ("starts_at", "9999-12-31T23:59:59Z", 253402300799.0),
    ],
)
def test_token_of_another_service_narrows_what_is_shown(claim: str, value: Any, shown: object) -> None:
    """Each limit itself still counts as within it."""
    assert getattr(grant_of(**{claim: value}), claim) == shown


def test_label_of_another_service_is_told() -> None:
    """80 characters of any script; those who see the same thing watch together, whatever it is called."""
    ticket = opens(seal(claims_at(NOW, label="ü" * 80)))
    assert ticket.label == "ü" * 80
    assert ticket.key == opens(seal(claims_at(NOW))).key


def test_claims_that_we_do_not_know_are_ignored() -> None:
    """A newer or a busier maker's token works here."""
    known = opens(seal(claims_at(NOW)))
    more = opens(
        seal(claims_at(NOW, sub="shop", iss="shop", scope=["admin"], devices=["*"], groups=["all"], x={"y": []}))
    )
    assert more == known
    assert more.key == known.key


def test_next_token_of_the_same_thing_has_the_same_key() -> None:
    """By the key a stream knows that the next token is for what it shows; another grant is another thing."""
    key = opens(seal(claims_at(NOW))).key
    assert opens(seal(claims_at(NOW + 60, jti="another"))).key == key
    others: list[dict[str, Any]] = [
        {"device_id": "truck-8"},
        {"precision_m": 100},
        {"trail": 1},
        {"fields": []},
    ]
    for changes in others:
        assert opens(seal(claims_at(NOW, **changes))).key != key
    shares = {mint(RING, share, expires_at=NOW + 60, now=NOW) for share in ("a", "b")}
    assert len({opens(token).key for token in shares} | {key}) == 3


def test_token_ends_to_the_instant_and_begins_with_leeway() -> None:
    """``exp`` is kept exactly; ``nbf`` and ``iat`` may be ahead by what clocks differ."""
    token = seal(claims_at(NOW, nbf=timestamp(NOW), iat=timestamp(NOW)))
    assert opens(token, now=NOW + 599.999).expires_at == NOW + 600
    assert refused(token, now=NOW + 600).code == "token_expired"
    assert opens(token, now=NOW - LEEWAY_SECONDS).expires_at == NOW + 600
    for claim in ("nbf", "iat"):
        token = seal(claims_at(NOW, **{claim: timestamp(NOW + 60)}))
        opens(token, now=NOW + 60 - LEEWAY_SECONDS)
        early = refused(token, now=NOW + 60 - LEEWAY_SECONDS - 0.001)
        assert (early.code, early.detail) == ("token_not_yet_valid", f"{claim} is in the future")


def test_token_lives_no_longer_than_a_share_may() -> None:
    """From ``iat``; without one what is left counts, so a token that is too long becomes good with age."""
    for begin in (NOW - 100, NOW):
        opens(seal(claims_at(NOW, iat=timestamp(begin), exp=timestamp(begin + MAX_SECONDS))))
        too_long = refused(seal(claims_at(NOW, iat=timestamp(begin), exp=timestamp(begin + MAX_SECONDS + 1))))
        assert too_long.detail == "lives longer than 2592000 s"
    token = seal(claims_at(NOW, exp=timestamp(NOW + MAX_SECONDS + 1)))
    assert refused(token).code == INVALID
    assert opens(token, now=NOW + 1).expires_at == NOW + MAX_SECONDS + 1


@pytest.mark.parametrize("token", [None, ""])
def test_no_token_is_told_apart(token: str | None) -> None:
    """Whoever presents none hears that one is needed."""
    assert refused(token).code == "token_required"


@pytest.mark.parametrize("name", WRONG)
def test_claims_that_are_not_right_in_every_part_open_nothing(name: str) -> None:
    """A genuine seal around wrong claims: refused as a whole, with the right code, and by the claims, not the seal."""
    payload, code = WRONG[name]
    token = seal(payload)
    assert RING.open(token) == payload
    error = refused(token)
    assert error.code == code
    assert error.detail
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
