"""The official PASETO test vectors, must-fail ones included, against our ring."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.access.paseto import KeyRing
from bridge.core.errors import TokenError
from tests import vectors
from tests.tokens import (
    b64,
    last_character_variants,
    refusal,
)

VECTOR_KID = "zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"


def vector_ring(vector: dict[str, Any]) -> KeyRing:
    """The ring with all keys of a vector. Their kid is no PASERK id, so the test says whose it is."""
    paserks = []
    if "key" in vector:
        paserks.append("k4.local." + b64(bytes.fromhex(vector["key"])))
    if "public-key" in vector:
        paserks.append("k4.public." + b64(bytes.fromhex(vector["public-key"])))
    ring = KeyRing(paserks)
    (ring.by_id[VECTOR_KID],) = set(ring.by_id.values())
    return ring


def open_vector(vector: dict[str, Any], token: str) -> bytes:
    """The payload of ``token`` under the keys and the implicit assertion of ``vector``."""
    return vector_ring(vector).open(token, vector["implicit-assertion"].encode())


def test_official_vectors_open_or_fail_as_they_must() -> None:
    """All of v4.json against our ring: 4-E and 4-S open to their payload, 4-F are refused."""
    outcomes = {}
    for vector in vectors.load("v4"):
        if vector["expect-fail"]:
            with pytest.raises(TokenError):
                open_vector(vector, vector["token"])
        else:
            assert open_vector(vector, vector["token"]) == vector["payload"].encode(), vector["name"]
        outcomes[vector["name"]] = not vector["expect-fail"]
    assert {name for name, opens in outcomes.items() if opens} >= {
        *(f"4-E-{n}" for n in range(1, 10)),
        *(f"4-S-{n}" for n in range(1, 4)),
    }
    assert {name for name, opens in outcomes.items() if not opens} >= {"4-F-1", "4-F-2", "4-F-3"}


def test_official_tokens_in_another_spelling_are_refused() -> None:
    """4-F-4 and 4-F-5 of later editions, made here for every vector: unused last bits set, and padding."""
    spelled = 0
    for vector in vectors.load("v4"):
        if vector["expect-fail"]:
            continue
        _, _, body, *footer = vector["token"].split(".")
        header = vector["token"].removesuffix(".".join(["", body, *footer]))
        bodies = [*last_character_variants(body), body + "=" * (-len(body) % 4 or 4), f"{body[:9]}!!!!{body[9:]}"]
        for other in bodies:
            with pytest.raises(TokenError):
                open_vector(vector, ".".join([header, other, *footer]))
            spelled += 1
        with pytest.raises(TokenError):
            open_vector(vector, vector["token"] + "=")
    assert spelled > 24


def test_official_tokens_need_their_kid_to_be_known() -> None:
    """Without being told, the ring refuses the vectors' kid: it names no key by PASERK id."""
    named = [vector for vector in vectors.load("v4") if VECTOR_KID in vector["footer"] and "key" in vector]
    assert named
    for vector in named:
        ring = KeyRing(["k4.local." + b64(bytes.fromhex(vector["key"]))])
        if vector["token"].startswith("v4.local."):
            assert "kid" in refusal(vector["token"], ring, vector["implicit-assertion"].encode())


@pytest.mark.parametrize("kind, prefix", [("lid", "k4.local."), ("pid", "k4.public.")])
def test_key_ids_are_those_of_the_official_vectors(kind: str, prefix: str) -> None:
    """The ids that other makers compute from the specification are the ids that we know."""
    checked = 0
    for vector in vectors.load(f"PASERK/k4.{kind}"):
        if vector.get("expect-fail"):
            continue
        assert KeyRing([prefix + b64(bytes.fromhex(vector["key"]))]).key_ids == {vector["paserk"]}
        checked += 1
    assert checked >= 3
