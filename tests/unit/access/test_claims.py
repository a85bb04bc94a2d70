"""What a payload must say, to the letter, when it holds and for which audience."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.access.claims import MAX_CLAIM_CHARS, Claims, Validity, parse_claims
from bridge.core.errors import TokenError
from bridge.core.strict_json import parse_object

NOW = 1_900_000_000.0
EXP = "2030-03-17T17:46:40Z"  # NOW
CLAIMS = {"sub": "dashboard", "exp": EXP}
MISSING = object()


def payload(**changes: Any) -> bytes:
    """A minimal good payload with ``changes``."""
    return json.dumps({name: value for name, value in {**CLAIMS, **changes}.items() if value is not MISSING}).encode()


def refusal(data: bytes) -> str:
    """The detail with which a payload is refused; the code is always token_invalid."""
    with pytest.raises(TokenError) as caught:
        parse_claims(data)
    assert caught.value.code == "token_invalid"
    return caught.value.detail


# --- what is read ------------------------------------------------------------------------------------


def test_all_claims_are_read() -> None:
    """Each registered claim and each of ours arrives in its type; claims that we do not know are ignored."""
    data = payload(
        nbf="2030-03-17T16:46:40Z",
        iat="2030-03-17T18:46:39.5+02:00",
        aud="telemetry-bridge",
        jti="a1",
        devices=["A", "truck-*", "A"],
        groups=["north", "north"],
        scope=["share", "stream"],
        iss="https://id.example.com",
        custom={"any": [1, None]},
    )
    assert parse_claims(data) == Claims(
        subject="dashboard",
        validity=Validity(NOW, valid_at=NOW - 3600, issued_at=NOW - 3600.5, audience="telemetry-bridge"),
        token_id="a1",
        devices=("A", "truck-*"),
        groups=frozenset({"north"}),
        scopes=frozenset({"share", "stream"}),
    )


def test_subject_and_expiry_are_enough() -> None:
    """Another maker's smallest token sees no device, belongs to no group and may only stream."""
    assert parse_claims(payload()) == Claims("dashboard", Validity(NOW), scopes=frozenset({"stream"}))


@pytest.mark.parametrize(
    "scope, scopes",
    [
        (["stream", "share", "publish", "ingest", "admin"], {"stream", "share", "publish", "ingest", "admin"}),
        ("stream share", {"stream", "share"}),
        (" stream  share ", {"stream", "share"}),
        ("stream stream", {"stream"}),
        ("teleport stream", {"stream"}),
        (["teleport"], set()),
        ("teleport", set()),
        ("", set()),
        ([], set()),
        (["Stream", "ADMIN"], set()),
        (["stream share"], set()),
        ("stream,share", set()),
    ],
)
def test_scope_is_a_list_or_a_text(scope: Any, scopes: set[str]) -> None:
    """Both spellings; unknown scopes are ignored; a scope that says nothing grants nothing, not even stream."""
    assert parse_claims(payload(scope=scope)).scopes == scopes


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"1",
        b"NaN",
        b'"text"',
        b"[]",
        b'[{"sub":"a","exp":"2030-03-17T17:46:40Z"}]',
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z"}x',
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z",}',
        b"{'sub':'a','exp':'2030-03-17T17:46:40Z'}",
        b'{"sub":"a","exp":NaN}',
        b'{"sub":"a","exp":Infinity}',
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z","x":NaN}',
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z","x":-Infinity}',
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z","exp":"2031-03-17T17:46:40Z"}',
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z","\\u0065xp":"2031-03-17T17:46:40Z"}',
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z","x":{"y":1,"y":2}}',
        b'{"sub":"\xff","exp":"2030-03-17T17:46:40Z"}',
        b'\xef\xbb\xbf{"sub":"a","exp":"2030-03-17T17:46:40Z"}',
        '{"sub":"a","exp":"2030-03-17T17:46:40Z"}'.encode("utf-16"),
        '{"sub":"a","exp":"2030-03-17T17:46:40Z"}'.encode("utf-32-le"),
        b'{"x":' * 340,
        b"[" * 2000,
        b'{"sub":"a","exp":"2030-03-17T17:46:40Z","x":"' + b"x" * 2048 + b'"}',
    ],
    ids=lambda data: repr(data[:40]),
)
def test_payload_that_is_not_one_strict_json_object_is_refused(data: bytes) -> None:
    """Lists, numbers, NaN, names given twice, other encodings, depth and length: token_invalid, never a 500."""
    refusal(data)


@pytest.mark.parametrize("name", ["sub", "exp"])
def test_required_claim_that_is_missing_is_named(name: str) -> None:
    """A token without exp, which pyseto would take, is refused by name; so is one without sub."""
    assert refusal(payload(**{name: MISSING})) == f"{name} is missing"


@pytest.mark.parametrize(
    "value",
    [None, "", 1, True, [], {}, ["a"], "a\nb", "a\r\nSet-Cookie: x", "\x1b[31m", "a\x00", "\ud800", "\u202e",
     "a\u2028b", "x" * (MAX_CLAIM_CHARS + 1)],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("name", ["sub", "jti", "aud"])
def test_text_that_could_spoil_a_log_is_refused(name: str, value: Any) -> None:
    """Names are printable texts of 1 to 256 characters: no line breaks, escapes, surrogates or other types."""
    assert refusal(payload(**{name: value})) == f"{name} is not a printable text of 1 to 256 characters"


def test_text_of_the_greatest_length_is_taken() -> None:
    """256 characters, of any script, and blanks inside."""
    subject = "Zoë’s dashboard 地図" + "x" * (MAX_CLAIM_CHARS - 18)
    assert len(subject) == MAX_CLAIM_CHARS
    assert parse_claims(payload(sub=subject)).subject == subject


@pytest.mark.parametrize(
    "changes",
    [
        {"devices": None},
        {"devices": "A"},
        {"devices": "*"},
        {"devices": {"A": 1}},
        {"devices": [1]},
        {"devices": [None]},
        {"devices": [["A"]]},
        {"devices": [""]},
        {"devices": ["A", "a/b"]},
        {"devices": ["a,b"]},
        {"devices": ["+"]},
        {"devices": ["#"]},
        {"devices": [".."]},
        {"devices": [" A"]},
        {"devices": ["x" * 65]},
        {"devices": ["e\u0301"]},
        {"groups": None},
        {"groups": "north"},
        {"groups": {}},
        {"groups": [1]},
        {"groups": [""]},
        {"groups": ["a\nb"]},
        {"groups": ["x" * 257]},
        {"scope": None},
        {"scope": 1},
        {"scope": {}},
        {"scope": [1]},
        {"scope": ["stream", None]},
        {"scope": ["stream", ""]},
        {"aud": ["telemetry-bridge"]},
    ],
    ids=repr,
)
def test_wrong_type_of_a_claim_refuses_the_whole_token(changes: dict[str, Any]) -> None:
    """Half a token is never obeyed: the claim is named, its value is not repeated."""
    assert refusal(payload(**changes)).startswith(next(iter(changes)))


@pytest.mark.parametrize("name", ["devices", "groups", "scope"])
def test_lists_are_bounded_by_the_length_of_the_payload(name: str) -> None:
    """Several hundred entries pass; more than 2 KiB of them do not, wherever the payload comes from."""
    assert parse_claims(payload(**{name: ["A"] * 390})).subject == "dashboard"
    assert "2048 bytes" in refusal(payload(**{name: ["A"] * 420}))


def test_long_number_in_an_unknown_claim_is_ignored() -> None:
    """A number that no float can hold is still JSON, and claims that we do not know are not our business."""
    assert parse_claims(b'{"sub":"a","exp":"2030-03-17T17:46:40Z","x":' + b"9" * 1900 + b"e9}").subject == "a"


def test_object_reader_is_for_other_tokens_too() -> None:
    """Share tokens are read with the same strictness."""
    assert parse_object(b'{"device_id":"A"}') == {"device_id": "A"}
    with pytest.raises(ValueError, match="not a JSON object"):
        parse_object(b"[]")
