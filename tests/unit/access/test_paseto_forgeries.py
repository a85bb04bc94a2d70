"""What is not exactly a token of ours does not open."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pyseto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.access.paseto import KeyRing
from bridge.core.limits import MAX_TOKEN_BYTES
from tests.tokens import (
    KEY,
    PAYLOAD,
    PUBLIC_KEY,
    RING,
    TOKEN,
    b64,
    last_character_variants,
    refusal,
)


@pytest.mark.parametrize("position", range(len(TOKEN)))
def test_every_changed_character_is_refused(position: int) -> None:
    """Whichever character of a token is changed, into whichever close relative, it does not open."""
    for bit in range(8):
        changed = chr(ord(TOKEN[position]) ^ (1 << bit))
        refusal(TOKEN[:position] + changed + TOKEN[position + 1 :])
    for character in "A_-9=.!\x00 é":
        if character != TOKEN[position]:
            refusal(TOKEN[:position] + character + TOKEN[position + 1 :])
    refusal(TOKEN[:position] + TOKEN[position + 1 :])


@pytest.mark.parametrize("part", [2, 3], ids=["body", "footer"])
def test_every_flipped_bit_of_the_bytes_is_refused(part: int) -> None:
    """Nonce, ciphertext, tag and footer: each bit is covered by the tag."""
    parts = TOKEN.split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
    for bit in range(len(raw) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        refusal(".".join([*parts[:part], b64(bytes(raw)), *parts[part + 1 :]]))
        raw[bit // 8] ^= 1 << bit % 8


@given(st.integers(0, len(TOKEN)), st.text(min_size=1, max_size=8))
def test_nothing_can_be_inserted_anywhere(position: int, junk: str) -> None:
    """A token has one text: pyseto alone would skip characters outside the alphabet."""
    refusal(TOKEN[:position] + junk + TOKEN[position:])


@given(st.text(max_size=200) | st.from_regex(r"v4\.(local|public)\.[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*)?", fullmatch=True))
def test_any_text_is_refused_in_the_same_way(text: str) -> None:
    """No text raises anything but token_invalid: never a 500."""
    refusal(text)
    refusal(text, KeyRing([PUBLIC_KEY]))


@pytest.mark.parametrize("size", range(1, 64))
def test_short_bodies_are_refused(size: int) -> None:
    """A body without room for nonce and tag, or for a signature, never reaches the crypto."""
    assert refusal(f"v4.local.{b64(bytes(size))}") == "too short"
    assert refusal(f"v4.public.{b64(bytes(size))}", KeyRing([PUBLIC_KEY])) == "too short"
    assert refusal(f"v4.local.{b64(bytes(64))}") == "no key opens it"


@pytest.mark.parametrize("payload", [b"x" * size for size in range(1, 7)], ids=len)
def test_token_has_only_one_spelling(payload: bytes) -> None:
    """Unused last bits and padding, in body and footer, for every length modulo 3; pyseto itself takes them all."""
    header, body, footer = "v4.local", *RING.seal(payload).split(".")[2:]
    spellings = [f"{header}.{variant}.{footer}" for variant in last_character_variants(body)]
    spellings += [f"{header}.{body}.{variant}" for variant in last_character_variants(footer)]
    spellings += [f"{header}.{body}{'=' * n}.{footer}" for n in (1, 2, 3)]
    spellings += [f"{header}.{body}.{footer}{'=' * n}" for n in (1, 2, 3)]
    for spelling in spellings:
        refusal(spelling)


PARTS = TOKEN.split(".")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "...",
        "v4",
        "v4.local",
        "v4.local.",
        "v4.local..",
        f"v4.local..{PARTS[3]}",
        f"v4.{PARTS[2]}",
        f"{PARTS[2]}.{PARTS[3]}",
        f"v4.local.{PARTS[2]}",
        f"v4.local.{PARTS[2]}.",
        f"{TOKEN}.",
        f"{TOKEN}.{PARTS[3]}",
        f".{TOKEN}",
        f" {TOKEN}",
        f"{TOKEN} ",
        f"{TOKEN}\n",
        f"Bearer {TOKEN}",
        f"V4.local.{PARTS[2]}.{PARTS[3]}",
        f"v4.LOCAL.{PARTS[2]}.{PARTS[3]}",
        f"v4.public.{PARTS[2]}.{PARTS[3]}",
        *(f"v{version}.local.{PARTS[2]}.{PARTS[3]}" for version in (0, 1, 2, 3, 5, 40)),
        *(f"v{version}.public.{PARTS[2]}.{PARTS[3]}" for version in (1, 2, 3)),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
        TOKEN.encode(),
        bytearray(TOKEN.encode()),
        None,
        4,
        [TOKEN],
        {"token": TOKEN},
        "v4.local.\u0661\u0662",
        "ｖ４.local." + PARTS[2],
        "\ud800",
        TOKEN.replace("v4", "v\u2084"),
        "\x00" * 100,
    ],
    ids=lambda token: type(token).__name__,
)
def test_what_is_not_a_v4_token_is_refused(token: Any) -> None:
    """Other versions, other formats, other types, too few and too many segments, text that is not ASCII."""
    refusal(token)


def test_genuine_token_of_another_version_is_refused() -> None:
    """A v2 or v3 token under the very bytes of our key is not ours."""
    raw = base64.urlsafe_b64decode(KEY[9:] + "=")
    for version in (2, 3):
        refusal(pyseto.encode(pyseto.Key.new(version, "local", raw), PAYLOAD).decode())


@pytest.mark.parametrize(
    "token",
    [
        "v4.local." + "A" * (1 << 20),
        "A" * (1 << 20),
        "v4.local." + "." * (1 << 20),
        "v4.local." + "\u00e9" * (1 << 20),
        "v4.local." + "A" * (MAX_TOKEN_BYTES - 8),
        "v4.local." + "A" * 600 + "." * 600,
    ],
    ids=["body", "no header", "dots", "not ASCII", "one too long", "dots within the limit"],
)
def test_huge_token_costs_nothing(token: str) -> None:
    """A megabyte is refused by its length, in well under a millisecond of CPU."""
    refusal(token)
    best = min(_cpu_seconds(lambda: refusal(token)) for _ in range(5))
    assert best < 0.001


def _cpu_seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started
