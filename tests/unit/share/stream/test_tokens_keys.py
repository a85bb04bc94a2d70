"""Which key opens a share token: rotation, tricks with kid, and keys that may not be share keys."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from bridge.access.paseto import MAX_FOOTER_BYTES, KeyRing, generate_key
from bridge.core.errors import SettingsError, TokenError
from bridge.core.times import timestamp
from bridge.settings import load_settings
from share.service import share_ring
from share.stream.tokens import mint
from tests.share_tokens import ACCESS_KEY, INVALID, KEY, MAX_SECONDS, NOW, OTHER_KEY, claims_at, footer_of, opens, seal
from tests.tokens import PUBLIC_KEY, SECRET_KEY, b64

OLD, NEW = KeyRing([OTHER_KEY]), KeyRing([KEY, OTHER_KEY])
"""Before and in the middle of a rotation from OTHER_KEY to KEY."""
AFTER = KeyRing([KEY])


def refused(token: str, ring: KeyRing = NEW, now: float = NOW) -> TokenError:
    """How ``token`` is refused."""
    with pytest.raises(TokenError) as caught:
        opens(token, ring, now)
    return caught.value


def ours(ring: KeyRing, now: float = NOW) -> str:
    """A token as ``init`` gives it."""
    return mint(ring, "0123456789ab", expires_at=now + 600, now=now)


def test_old_tokens_work_while_their_key_is_in_the_ring() -> None:
    """A new key goes first and mints; tokens of the old one work on; with its key a token is gone."""
    old = (ours(OLD), seal(claims_at(NOW), OTHER_KEY), seal(claims_at(NOW), OTHER_KEY, footer_of(OTHER_KEY)))
    for token in old:
        assert opens(token, OLD) == opens(token, NEW)
        assert refused(token, AFTER).code == INVALID
    assert opens(ours(NEW), AFTER).share_id == "0123456789ab"
    assert refused(ours(NEW), OLD).code == INVALID
    # An older process of a roll-out, which has the new key in second place already.
    assert opens(ours(NEW), KeyRing([OTHER_KEY, KEY])).share_id == "0123456789ab"


@pytest.mark.parametrize("key", [KEY, OTHER_KEY], ids=["first key", "second key"])
@pytest.mark.parametrize("named", [True, False], ids=["with kid", "without kid"])
def test_expired_token_is_told_apart_during_a_rotation(key: str, named: bool) -> None:
    """With two keys pyseto itself makes a TypeError of it, and a viewer would not know to ask ``init`` again."""
    footer = footer_of(key) if named else b""
    assert refused(seal(claims_at(NOW, exp=timestamp(NOW - 1)), key, footer)).code == "token_expired"
    assert refused(seal(claims_at(NOW, nbf=timestamp(NOW + 60)), key, footer)).code == "token_not_yet_valid"
    assert opens(seal(claims_at(NOW), key, footer), NEW).grant


def test_sixteen_keys_are_each_tried() -> None:
    """A token without kid finds its key wherever it stands."""
    keys = [generate_key() for _ in range(16)]
    ring = KeyRing(keys)
    for key in keys:
        assert opens(seal(claims_at(NOW), key), ring).grant


KIDS: list[Any] = [
    "", "unknown", "shop-2030", "../../etc/passwd", "..\\..\\key", "/dev/zero", "' OR 1=1 --", "1; DROP TABLE shares",
    "k4.lid.", "k4.lid." + "A" * 44, footer_of(OTHER_KEY), KEY, ACCESS_KEY, "\r\nSet-Cookie: a=b", "\x1b[31m", "\x00",
    "\ud800", "${jndi:ldap://x}", "%s%n", "x" * 400, None, 0, True, 1.5, {}, ["k4.lid."],
]  # fmt: skip


@pytest.mark.parametrize("kid", KIDS, ids=range(len(KIDS)))
def test_kid_that_names_none_of_our_keys_is_refused_and_not_repeated(kid: Any) -> None:
    """Genuine but for the kid: paths, SQL, other types, our own key. The detail is one of two fixed texts."""
    error = refused(seal(claims_at(NOW), KEY, json.dumps({"kid": kid})))
    assert error.code == INVALID
    assert error.detail in {"kid names no key that we have", "kid is not a text"}


def test_kid_chooses_the_one_key_that_is_tried() -> None:
    """The id of another key of the ring, and the id of ours on a stranger's token, both open nothing."""
    assert refused(seal(claims_at(NOW), KEY, footer_of(OTHER_KEY))).detail == "no key opens it"
    assert refused(seal(claims_at(NOW), ACCESS_KEY, footer_of(KEY))).detail == "no key opens it"


@pytest.mark.parametrize("size", [513, 600, 10_240, 1 << 20])
def test_large_footer_is_refused(size: int) -> None:
    """Before it is parsed, whether it holds a kid or text."""
    for footer in (b"x" * size, b'{"kid":"' + b"x" * (size - 10) + b'"}'):
        error = refused(seal(claims_at(NOW), KEY, footer))
        assert error.code == INVALID
        assert error.detail in {f"footer of more than {MAX_FOOTER_BYTES} bytes", "not ASCII text of at most 2048 bytes"}


@pytest.mark.parametrize(
    "footer", [b'{"kid":"a","kid":"b"}', b'{"kid":', b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":' + b"[" * 400, b"{" * 8]
)
def test_footer_that_is_not_strict_is_refused(footer: bytes) -> None:
    """Two kids, broken JSON, too deep: which key was meant, nobody could say."""
    assert refused(seal(claims_at(NOW), KEY, footer)).code == INVALID


@pytest.mark.parametrize("footer", [b"plain text", b"{}", b'{"for":"the shop"}', b"\xff\xfe", b'["kid"]', b"x" * 512])
def test_footer_of_another_maker_is_his(footer: bytes) -> None:
    """What has no kid is not looked at."""
    assert opens(seal(claims_at(NOW), KEY, footer), NEW).grant


# --- which keys may be share keys --------------------------------------------------------------------------


def problems(**settings: str) -> str:
    """What is said of these settings, at the latest when share links start."""
    with pytest.raises(SettingsError) as caught:
        share_ring(load_settings(access_keys=ACCESS_KEY, **settings))
    assert {name for name, _ in caught.value.problems} == {"BRIDGE_SHARE_KEYS"}
    return str(caught.value)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "keys",
    [ACCESS_KEY, f"{KEY},{ACCESS_KEY}", f"{ACCESS_KEY},{KEY}", f" {ACCESS_KEY} "],
    ids=["only", "second", "first", "with blanks"],
)
def test_key_for_both_purposes_stops_the_start(keys: str) -> None:
    """Wherever it stands: an access token would open shares, and a share token a fleet."""
    text = problems(share_keys=keys)
    assert "also in BRIDGE_ACCESS_KEYS" in text
    assert ACCESS_KEY[9:] not in text and KEY[9:] not in text


@pytest.mark.parametrize(
    "key",
    [
        PUBLIC_KEY, SECRET_KEY, "k3" + KEY[2:], "k4.lid." + b64(bytes(33)), "k4.local-pw." + KEY[9:],
        "k4.local.", "k4.local." + b64(b"x" * 31), "k4.local." + b64(b"x" * 33), KEY + "=", KEY[:-1], KEY[9:], "secret",
    ],
    ids=count(),  # nothing random: two processes must find the same tests
)  # fmt: skip
@pytest.mark.parametrize("before", ["", f"{OTHER_KEY},"], ids=["first", "second"])
def test_key_that_is_no_share_key_stops_the_start_and_is_not_quoted(key: str, before: str) -> None:
    """k4.public. and k4.secret. among them: a share token is v4.local. The error names the position."""
    text = problems(share_keys=before + key)
    assert f"key number {2 if before else 1} " in text
    body = key.rpartition(".")[2]
    assert not any(body[i : i + 8] in text for i in range(len(body) - 7))
    assert OTHER_KEY[9:] not in text


def test_key_twice_stops_the_start() -> None:
    """A slip in a rotation is said."""
    assert "key number 2 is given twice" in problems(share_keys=f"{KEY},{KEY}")


def test_share_keys_make_the_ring_in_their_order() -> None:
    """The first mints, all verify."""
    ring = share_ring(load_settings(access_keys=ACCESS_KEY, share_keys=f"{KEY}, {OTHER_KEY}"))
    assert opens(ours(ring), AFTER).share_id == opens(ours(OLD), ring).share_id == "0123456789ab"
    assert repr(ring) == "KeyRing(2 keys)"


def test_life_is_bounded_for_every_key() -> None:
    """A rotation brings no other limits."""
    for key in (KEY, OTHER_KEY):
        assert "lives longer" in refused(seal(claims_at(NOW, exp=timestamp(NOW + MAX_SECONDS + 1)), key)).detail
