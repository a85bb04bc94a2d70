"""Whatever is presented: a ticket within the limits, or a TokenError that repeats nothing of it."""

from __future__ import annotations

import json
import string
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.device_ids import is_device_id
from bridge.core.errors import TokenError
from bridge.core.limits import MAX_TOKEN_BYTES
from bridge.core.times import timestamp
from share.model.grant import FIELDS
from share.model.limits import MAX_DELAY_SECONDS, MAX_PRECISION_M, MAX_TRAIL, MIN_PRECISION_M
from share.stream.public_json import share_data
from share.stream.rooms import Room
from share.stream.tokens import AUDIENCE_SHARE, Ticket
from tests.share_tokens import NOW, RING, check_ticket, opens, seal
from tests.tokens import b64

BEFORE_THE_SEAL_IS_OPEN: Final = {
    "token_required",
    "token_invalid: not a v4.local token",
    "token_invalid: not a v4.local or v4.public token",
    "token_invalid: not ASCII text of at most 2048 bytes",
    "token_invalid: not canonical base64url",
    "token_invalid: too short",
    "token_invalid: footer of more than 512 bytes",
    "token_invalid: footer is nested too deeply",
    "token_invalid: footer is neither plain text nor strict JSON",
    "token_invalid: kid is not a text",
    "token_invalid: kid names no key that we have",
    "token_invalid: no key opens it",
}
"""Every text with which a token is refused that nobody with the key has made. None has a place for a part of it."""

_segments = st.text("ABCxyz019-_=", max_size=200) | st.binary(max_size=700).map(b64)
_texts = st.one_of(
    st.text(max_size=300),
    st.builds(".".join, st.lists(st.sampled_from(["v4", "local", "public", "v3", "", "A"]) | _segments, max_size=5)),
    _segments.map("v4.local.{}".format),
    st.builds("v4.local.{}.{}".format, st.binary(min_size=64, max_size=99).map(b64), _segments),
    st.builds(
        "v4.local.{}.{}".format,
        st.just(b64(bytes(64))),
        st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.sampled_from(["kid", "a"]), inner)).map(
            lambda footer: b64(json.dumps(footer).encode())
        ),
    ),
)


@settings(max_examples=1000)
@given(_texts)
def test_any_text_is_refused_with_one_of_a_few_fixed_texts(text: str) -> None:
    """Nothing of a token that somebody tries can reach the log by its refusal, for the texts are known beforehand."""
    with pytest.raises(TokenError) as caught:
        opens(text)
    assert str(caught.value) in BEFORE_THE_SEAL_IS_OPEN
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)


# --- any claims under the right seal -------------------------------------------------------------------------

_MARK: Final = "Qz7"
"""In every text and name that is made up here, and in no refusal."""
_marked = st.builds("{}{}{}".format, st.just(_MARK), st.text(max_size=90), st.sampled_from(["", "*", "\n"]))
_junk = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.just(10**400), st.sampled_from([1e308, -0.0]), _marked
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_marked, inner, max_size=3),
    max_leaves=5,
)
_soon = st.floats(1, 600).map(lambda seconds: timestamp(NOW + seconds))
_before = st.floats(-7200, 5).map(lambda seconds: timestamp(NOW + seconds))
_ids = st.text("abc-:.ü7", min_size=1, max_size=12).filter(is_device_id)


def _numbers(least: float, most: float) -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(int(least), int(most)), st.floats(least, most))


_always = {"exp": _soon}
_often = {"iat": _before, "nbf": _before, "aud": st.just(AUDIENCE_SHARE), "jti": _marked}
_narrowing = {
    "fields": st.lists(st.sampled_from(FIELDS), max_size=6),
    "precision_m": st.just(0) | _numbers(MIN_PRECISION_M, MAX_PRECISION_M),
    "delay_s": _numbers(0, MAX_DELAY_SECONDS),
    "trail": st.integers(0, MAX_TRAIL),
    "starts_at": _before | st.datetimes().map(lambda at: f"{at.isoformat(timespec='seconds')}Z"),
    "label": st.text(string.ascii_letters, max_size=70).map(lambda text: _MARK + text),
}
_right = st.one_of(
    st.fixed_dictionaries({**_always, "device_id": _ids}, optional=_often | _narrowing),
    st.fixed_dictionaries(
        {**_always, "device_ids": st.lists(_ids, min_size=1, max_size=20)}, optional=_often | _narrowing
    ),
    st.fixed_dictionaries({**_always, "share_id": st.text("0123456789ab", min_size=1, max_size=12)}, optional=_often),
)
_odd = st.one_of(
    _junk,
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-23:59"]),
    st.floats(-7200, 40 * 86_400).map(lambda seconds: timestamp(NOW + seconds)),
    st.lists(st.sampled_from(["*", "a/b", "t-*", "truck-7", *FIELDS]), max_size=22),
    _numbers(-2, 100_001),
)
_NAMES: Final = sorted({"exp", "device_id", "device_ids", "share_id", *_often, *_narrowing})
_wrongs = st.dictionaries(st.sampled_from(_NAMES) | _marked, _odd, max_size=2)
_claims = st.builds(lambda right, wrong: right | wrong, _right, st.just({}) | _wrongs)


def _verdict(token: str) -> Ticket | TokenError:
    """What comes of a token; any other exception goes on."""
    try:
        return opens(token)
    except TokenError as error:
        return error


def _outcome(claims: object) -> Ticket | TokenError:
    """A ticket within the limits that can be told to viewers, or a TokenError that holds nothing of the claims."""
    token = seal(json.dumps(claims, separators=(",", ":")).encode())
    ticket = _verdict(token)
    if isinstance(ticket, TokenError):
        assert ticket.code in {"token_invalid", "token_expired", "token_not_yet_valid"}
        assert _MARK not in str(ticket)
        return ticket
    check_ticket(ticket)
    assert len(token) <= MAX_TOKEN_BYTES
    if ticket.grant is not None:
        room = Room(ticket.grant, None, None)  # type: ignore[arg-type]
        told = json.dumps(share_data(room, ticket.expires_at, ticket.label))
        assert not any(json.dumps(device_id) in told for device_id in ticket.grant.device_ids)
    return ticket


def test_any_claims_make_a_ticket_within_the_limits_or_a_refusal() -> None:
    """Right claims in every combination, with up to two odd ones among them; each outcome is met again and again."""
    met: Counter[str] = Counter()

    @settings(max_examples=1000)
    @given(_claims)
    def check(claims: dict[str, Any]) -> None:
        outcome = _outcome(claims)
        met["refused" if isinstance(outcome, TokenError) else "share" if outcome.share_id else "grant"] += 1

    check()
    assert min(met[kind] for kind in ("refused", "share", "grant")) >= 50, met


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize(
    "shape", ["{}", "[{}]", '{{"a":{}}}', "{{{}:1}}", "{},{}:1"], ids=["text", "list", "value", "name", "another claim"]
)
def test_no_refusal_repeats_what_a_claim_says(name: str, shape: str) -> None:
    """Each claim with a text that it cannot have: as it is, in lists and objects, as a name beside it."""
    text = json.dumps(f"{_MARK}*\n{_MARK}")
    others = {} if name in {"device_id", "device_ids", "share_id"} else {"device_id": "truck-7"}
    members = {"exp": timestamp(NOW + 60), **others}
    members.pop(name, None)
    value = shape.replace("{},{}", "{0},{0}").format(text)
    payload = "".join(
        ["{", *(f'"{key}":{json.dumps(each)},' for key, each in members.items()), f'"{name}":{value}', "}"]
    )
    error = _verdict(seal(payload.encode()))
    assert isinstance(error, TokenError)
    assert error.detail and _MARK not in str(error)


@settings(max_examples=300)
@given(_junk)
def test_any_json_under_the_right_seal_is_a_refusal(value: object) -> None:
    """Lists, numbers, objects without a name that we know: never a ticket and never another exception."""
    assert isinstance(_outcome(value), TokenError)


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=1200))
def test_any_bytes_under_the_right_seal_are_a_refusal(payload: bytes) -> None:
    """What is no JSON at all."""
    with pytest.raises(TokenError, match=r"^token_invalid"):
        opens(RING.seal(payload))
