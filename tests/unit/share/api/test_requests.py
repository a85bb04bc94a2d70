"""Operators' request bodies: each rule, and that nothing but a Draft, Changes or a refusal in words comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from share.api.requests import parse_changes, parse_draft, share_json
from share.model.draft import Changes, Draft, InvalidRequestError
from share.model.grant import DEFAULT_FIELDS, FIELDS, Destination
from share.model.limits import MAX_BODY_BYTES
from share.model.share import EndReason, Share
from tests.stored import DAY, NOW

T = TypeVar("T")
MONTH = 30 * DAY
GOAL = {"lat": 1.5, "lon": -70.25}
BASE = {"device_ids": ["A"], "expires_in": 3600}


def parse(**fields: Any) -> tuple[Draft, str | None]:
    """What the smallest body with these fields asks for."""
    return parse_draft(json.dumps({**BASE, **fields}).encode(), NOW, MONTH)


def refused(**fields: Any) -> str:
    """Why the smallest body with these fields is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        parse(**fields)
    assert caught.value.__cause__ is None
    return caught.value.message


def share_of(**fields: Any) -> Share:
    """A share as it would be stored."""
    draft, _ = parse(**fields)
    return Share("0" * 12, "h", "ana", NOW, draft.starts_at, draft.ends_at, draft.grant, label=draft.label)


def changes(share: Share, now: float = NOW, **fields: Any) -> tuple[Changes, str | None]:
    """What a body with these fields asks to change."""
    return parse_changes(json.dumps(fields).encode(), share, now, MONTH)


def test_smallest_body_gets_every_default() -> None:
    """From now, exact, at once, with a trail of 100, for anyone."""
    draft, password = parse()
    assert (draft.starts_at, draft.ends_at) == (NOW, NOW + 3600)
    assert (draft.label, draft.max_viewers, draft.password_hash, password) == ("", None, None, None)
    grant = draft.grant
    assert grant.aliases == (("A", "Device"),)
    assert grant.starts_at == NOW
    assert (grant.fields, grant.precision_m, grant.delay_s, grant.trail) == (DEFAULT_FIELDS, 0, 0, 100)
    assert (grant.destination, grant.end_on_arrival) == (None, False)


def test_full_body_is_taken_as_it_is() -> None:
    """Every field, with blanks around texts forgiven and brought to normal form C."""
    draft, password = parse_draft(
        json.dumps(
            {
                "device_ids": ["truck-1", "truck-2"],
                "starts_at": "2030-03-17T18:00:00Z",
                "expires_at": "2030-03-17T20:00:00+01:00",
                "label": "  Pa\u0301rcel  ",
                "aliases": {"truck-2": " Blue van "},
                "password": " open sesame ",
                "max_viewers": 7,
                "fields": ["time", "speed_kmh", "time"],
                "precision_m": 100,
                "delay_s": 30.5,
                "trail": 0,
                "destination": {**GOAL, "radius_m": 20, "name": "Home"},
                "end_on_arrival": True,
            }
        ).encode(),
        NOW,
        MONTH,
    )
    assert password == " open sesame "
    assert (draft.label, draft.max_viewers) == ("P\u00e1rcel", 7)
    assert draft.ends_at - draft.starts_at == 3600
    assert draft.grant.aliases == (("truck-1", "Device 1"), ("truck-2", "Blue van"))
    assert draft.grant.fields == {"time", "speed_kmh"}
    assert draft.grant.destination == Destination(1.5, -70.25, 20, "Home")
    assert "sesame" not in repr(draft)


def test_null_is_none_where_there_may_be_none() -> None:
    """What a share's own JSON shows as null may be sent so."""
    draft, password = parse(password=None, max_viewers=None, destination=None, starts_at=None, expires_at=None)
    assert (draft.max_viewers, password, draft.grant.destination, draft.starts_at) == (None, None, None, NOW)


BAD: dict[str, list[Any]] = {
    "device_ids": [[], ["*"], ["truck-*"], [""], ["a/b"], ["A", 7], "A", {"A": 1}, None, ["A", "A"], ["x" * 65],
                   [f"d{n}" for n in range(21)], ["A\n"], [" A"], ["\ud800"]],
    "expires_in": [0, -1, "3600", True, 1e300, 10**400, MONTH + 1, [1]],
    "starts_at": ["tomorrow", 1_900_000_000, "2030-03-17T18:00:00", "2030-02-30T00:00:00Z", "2029-01-01T00:00:00Z",
                  "2031-01-01T00:00:00Z"],
    "label": ["x" * 81, "a\nb", "a\u202eb", "\x1b[31m", 7, None, ["x"], "\ud800", "a\u200bb"],
    "aliases": [{"B": "x"}, {"A": ""}, {"A": "  "}, {"A": "x" * 41}, {"A": None}, {"A": "a\tb"}, ["A"], None, "x",
                {"A": "\udfff"}],
    "password": ["", "x" * 129, 7, True, ["x"], "\ud800"],
    "max_viewers": [0, -1, 1.5, "7", True, 10**30, 1_000_001],
    "fields": [["lat"], ["speed_kmh", "secret"], "time", [None], {"time": 1}],
    "precision_m": [1, 9.99, -10, 100_001, "10", True, None],
    "delay_s": [-1, 3601, "1", None, True],
    "trail": [-1, 501, 1.5, "1", None, True],
    "destination": [[], 7, {}, {"lat": 1}],
    "destination.lat": [{**GOAL, "lat": value} for value in (90.1, -91, "1", None, True)],
    "destination.lon": [{**GOAL, "lon": value} for value in (180.5, -181, "x")],
    "destination.radius_m": [{**GOAL, "radius_m": value} for value in (19, 10_001, "100", 10**400)],
    "destination.name": [{**GOAL, "name": value} for value in ("x" * 81, "a\r\nb", 7)],
    "end_on_arrival": [1, "yes", None],
}  # fmt: skip


@pytest.mark.parametrize("field", BAD)
def test_wrong_value_is_refused_by_the_name_of_its_field(field: str) -> None:
    """In words that fit on a screen."""
    for value in BAD[field]:
        message = refused(**{field.partition(".")[0]: value})
        assert f"`{field.partition('.')[0]}" in message, value
        assert len(message) < 300
        assert message.isprintable()


@pytest.mark.parametrize("field", [field for field in BAD if "." not in field])
def test_wrong_value_is_never_repeated(field: str) -> None:
    """It may be a secret, or a megabyte; at any depth, also as a name in an object."""
    marks: list[Any] = [
        "mark" * 50 + "\x00",
        {"mark": "mark"},
        ["mark\n"],
        [["mark"]],
        {"A": ["mark"]},
        {"A": {"mark": 1}},
    ]
    for value in marks:
        message = refused(**{field: value})
        assert "mark" not in message.replace("`destination.mark`", "")  # the name of a field that is not known


def test_number_beyond_all_numbers_is_refused() -> None:
    """1e400 is JSON, and infinite for Python."""
    with pytest.raises(InvalidRequestError, match="`expires_in` must be a number"):
        parse_draft(b'{"device_ids":["A"],"expires_in":1e400}', NOW, MONTH)


@pytest.mark.parametrize(
    "field, values",
    {
        "expires_in": [0.001, MONTH],
        "starts_at": ["2030-03-16T17:46:40Z", "2030-04-16T17:46:40Z"],
        "label": ["", "x" * 80, "Paket für Zoë 🚚"],
        "aliases": [{}, {"A": "x"}, {"A": "x" * 40}],
        "password": ["x", "x" * 128, "e\u0301" * 128, "\n"],
        "max_viewers": [1, 1_000_000],
        "fields": [[], list(FIELDS)],
        "precision_m": [0, 0.0, 10, 100_000],
        "delay_s": [0, 3600, 0.5],
        "trail": [0, 500],
        "destination": [{"lat": 90, "lon": -180, "radius_m": 20}, {"lat": -90, "lon": 180, "radius_m": 10_000}],
        "device_ids": [["x" * 64], [f"d{n}" for n in range(20)], ["ü 1"]],
    }.items(),
)
def test_corners_within_the_limits_are_taken(field: str, values: list[Any]) -> None:
    """The last value that is still right."""
    for value in values:
        parse(**{field: value})


def test_one_end_must_be_given_and_one_only() -> None:
    """Neither none nor two."""
    assert "`expires_in` or `expires_at` is missing" in refused(expires_in=None)
    assert "not both" in refused(expires_at="2030-03-17T19:00:00Z")


def test_end_is_after_the_start_and_after_now() -> None:
    """And at most the server's maximum after the start."""
    parse(expires_in=None, expires_at="2030-03-17T17:46:41Z")
    assert "`expires_at` must be later" in refused(expires_in=None, expires_at="2030-03-17T17:46:40Z")
    late = {"expires_in": None, "starts_at": "2030-03-18T00:00:00Z"}
    assert "later" in refused(**late, expires_at="2030-03-18T00:00:00Z")
    parse(**late, expires_at="2030-04-17T00:00:00Z")
    assert "at most 30 days after" in refused(**late, expires_at="2030-04-17T00:00:01Z")
    draft, _ = parse(starts_at="2030-03-18T00:00:00Z")
    assert draft.ends_at - draft.starts_at == 3600
    draft, _ = parse(starts_at="2030-03-17T17:00:00Z")
    assert draft.ends_at == NOW + 3600


def test_arrival_needs_a_destination() -> None:
    """Where would it arrive?"""
    assert "`destination`" in refused(end_on_arrival=True)
    parse(end_on_arrival=True, destination=GOAL)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"7", b'"x"', b"{", b"\xff{}", b"{} {}", b"[" * 16_000, b'{"a":' * 3000, b"\x00",
        b"\xef\xbb\xbf{}", b'{"\\ud800":1}',
        b'{"device_ids":["A"],"expires_in":NaN}', b'{"device_ids":["A"],"expires_in":Infinity}',
        b'{"device_ids":["A"],"expires_in":60,"expires_in":600000}',
        b'{"device_ids":["A"],"expires_in":60,"destination":{"lat":1,"lat":2,"lon":3}}',
        b'{"device_ids":["A"],"expires_in":60,"aliases":{"A":"x","A":"y"}}',
        b'{"device_ids":["A"],"expires_in":' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Neither half a text, nor NaN, nor a name twice, at any depth."""
    with pytest.raises(InvalidRequestError, match="body must be"):
        parse_draft(body, NOW, MONTH)


def test_body_is_bounded() -> None:
    """16 KiB and not a byte more."""
    body = json.dumps(BASE).encode()
    parse_draft(body.ljust(MAX_BODY_BYTES), NOW, MONTH)
    with pytest.raises(InvalidRequestError, match="16384 bytes"):
        parse_draft(body.ljust(MAX_BODY_BYTES + 1), NOW, MONTH)


@pytest.mark.parametrize("name", ["devices", "x" * 33, "a\nb", "", "__class__", "password_hash", "owner"])
def test_unknown_field_is_refused(name: str) -> None:
    """With those that are known; its name is repeated when it can be read."""
    message = refused(**{name: "private"})
    assert "known are device_ids, expires_in" in message
    assert (name in message) == (name.isprintable() and len(name) <= 32)
    assert "private" not in message
    assert "known are lat, lon" in refused(destination={**GOAL, name: "private"})


def test_operator_sees_everything_but_the_secrets() -> None:
    """Times in UTC to the millisecond; no code, no hash."""
    share = replace(
        share_of(device_ids=["A", "B"], destination=GOAL, fields=["time", "speed_kmh"]),
        code_hash="c0de", password_hash="$argon2id$x", ended_at=NOW + 0.5, end_reason=EndReason.ARRIVED,
        viewers_total=3,
    )  # fmt: skip
    shown = share_json(share, NOW + 1, 2, 4)
    assert shown == {
        "id": "0" * 12, "status": "ended", "device_ids": ["A", "B"], "aliases": {"A": "Device 1", "B": "Device 2"},
        "label": "", "owner": "ana", "created_at": "2030-03-17T17:46:40.000Z", "starts_at": "2030-03-17T17:46:40.000Z",
        "expires_at": "2030-03-17T18:46:40.000Z", "ended_at": "2030-03-17T17:46:40.500Z", "end_reason": "arrived",
        "has_password": True, "max_viewers": None, "fields": ["speed_kmh", "time"], "precision_m": 0.0, "delay_s": 0.0,
        "trail": 100, "destination": {"lat": 1.5, "lon": -70.25, "radius_m": 100.0, "name": ""},
        "end_on_arrival": False, "viewers": {"now": 2, "total": 7},
    }  # fmt: skip
    assert "c0de" not in json.dumps(shown)
    assert "argon" not in json.dumps(shown)
