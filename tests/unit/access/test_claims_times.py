"""Times in a payload, when claims hold and for which audience."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.access.claims import AUDIENCE_ACCESS, LEEWAY_SECONDS, Validity, parse_claims
from bridge.core.errors import TokenError
from bridge.core.times import parse_time, timestamp

NOW = 1_900_000_000.0
EXP = "2030-03-17T17:46:40Z"  # NOW
CLAIMS = {"sub": "dashboard", "exp": EXP}


def payload(**changes: Any) -> bytes:
    """A minimal good payload with ``changes``."""
    return json.dumps(CLAIMS | changes).encode()


def refusal(data: bytes) -> str:
    """The detail with which a payload is refused; the code is always token_invalid."""
    with pytest.raises(TokenError) as caught:
        parse_claims(data)
    assert caught.value.code == "token_invalid"
    return caught.value.detail


def code(validity: Validity, now: float = NOW, **options: Any) -> str | None:
    """The code with which a token of this ``validity`` is refused at ``now``, or None."""
    try:
        validity.check(now=now, audience=AUDIENCE_ACCESS, **options)
    except TokenError as error:
        return error.code
    return None


# --- how a time is written -------------------------------------------------------------------------


NOT_TIMES: list[Any] = [
    None,
    True,
    0,
    1_900_000_000,
    1.9e9,
    {},
    ["2030-03-17T17:46:40Z"],
    "",
    "2026",
    "2030-03",
    "2030-03-17",
    "20300317T174640Z",
    "2030-W11-7T17:46:40Z",
    "2030-076T17:46:40Z",
    "2030-03-17T17:46:40",
    "2030-03-17T17:46:40.5",
    "2030-03-17T17:46Z",
    "2030-03-17T17Z",
    "2030-03-17 17:46:40Z",
    "2030-03-17t17:46:40",
    "2030-03-17T17:46:40.Z",
    "2030-03-17T17:46:40,5Z",
    "2030-03-17T17:46:40.1234567890Z",
    "2030-03-17T17:46:40+02",
    "2030-03-17T17:46:40+0200",
    "2030-03-17T17:46:40+02:00:00",
    "2030-03-17T17:46:40+24:00",
    "2030-03-17T17:46:40+02:60",
    "2030-03-17T17:46:40 Z",
    "2030-03-17T17:46:40 +02:00",
    "2030-03-17T17:46:40UTC",
    "2030-03-17T17:46:40ZZ",
    "2030-03-17T17:46:40Z\n",
    " 2030-03-17T17:46:40Z",
    "2030-02-29T00:00:00Z",
    "2030-13-01T00:00:00Z",
    "2030-00-01T00:00:00Z",
    "2030-01-32T00:00:00Z",
    "2030-01-01T24:00:00Z",
    "2030-01-01T23:60:00Z",
    "2030-01-01T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "12030-01-01T00:00:00Z",
    "+2030-01-01T00:00:00Z",
    "-2030-01-01T00:00:00Z",
    "٢٠٣٠-03-17T17:46:40Z",
    "２０３０-03-17T17:46:40Z",
    "2030−03−17T17:46:40Z",
    "Sun, 17 Mar 2030 17:46:40 GMT",
    "1900000000",
    "never",
]


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", NOT_TIMES, ids=repr)
def test_time_that_is_not_rfc_3339_with_a_zone_is_refused(name: str, value: Any) -> None:
    """Numbers, dates alone, no zone, other ISO 8601 spellings, no such day: refused for each claim of time."""
    detail = refusal(payload(**{name: value}))
    assert detail.startswith(f"{name} is not ")
    assert len(str(value)) < 3 or str(value) not in detail


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2030-03-17T17:46:40Z", NOW),
        ("2030-03-17t17:46:40z", NOW),
        ("2030-03-17T17:46:40+00:00", NOW),
        ("2030-03-17T17:46:40-00:00", NOW),
        ("2030-03-17T19:46:40+02:00", NOW),
        ("2030-03-17T12:16:40-05:30", NOW),
        ("2030-03-18T17:45:40+23:59", NOW),
        ("2030-03-17T17:46:40.5Z", NOW + 0.5),
        ("2030-03-17T17:46:40.25+00:00", NOW + 0.25),
        ("2030-03-17T17:46:40.000Z", NOW),
        ("2030-03-17T17:46:40.123456Z", NOW + 0.123456),
        ("2030-03-17T17:46:40.1234569Z", NOW + 0.123456),
        ("2030-03-17T17:46:40.123456999Z", NOW + 0.123456),
        ("1970-01-01T00:00:00Z", 0.0),
        ("2028-02-29T00:00:00Z", 1_835_395_200.0),
    ],
)
def test_time_is_read_as_other_makers_write_it(text: str, seconds: float) -> None:
    """With Z or an offset, in either case of letter, with up to nine digits of fraction, cut to microseconds."""
    assert parse_time(text) == pytest.approx(seconds, abs=1e-7)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_time_at_the_ends_of_the_calendar_is_read_and_can_be_told(text: str) -> None:
    """The first and the last second that datetime knows in UTC."""
    assert timestamp(parse_time(text)) == text.replace("Z", ".000Z")


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.9999999Z"]
)
def test_time_beyond_the_calendar_of_utc_is_refused(text: str) -> None:
    """An offset or a rounding that leads out of the years that datetime knows: no client could be told it."""
    with pytest.raises(ValueError, match="within the years 1 to 9999"):
        parse_time(text)


MOST_MINUTES = 23 * 60 + 59


@given(
    st.datetimes(timezones=st.integers(-MOST_MINUTES, MOST_MINUTES).map(lambda n: timezone(timedelta(minutes=n)))),
)
def test_every_python_time_is_understood(moment: datetime) -> None:
    """What isoformat writes of an aware time comes back as the same instant."""
    assert parse_time(moment.isoformat()) == moment.timestamp()


@given(st.floats(0, 253_000_000_000))
def test_written_time_is_never_later(at: float) -> None:
    """What we write is cut to milliseconds: a token is never prolonged, and by less than 1 ms shortened."""
    written = timestamp(at)
    assert written.endswith("Z")
    assert -1e-4 < at - parse_time(written) < 0.0011


# --- whether it holds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds, expected",
    [(-3600, None), (-1, None), (-0.001, None), (0, "token_expired"), (0.001, "token_expired"), (1, "token_expired"),
     (LEEWAY_SECONDS - 1, "token_expired"), (1e9, "token_expired")],
)  # fmt: skip
def test_token_ends_at_exp_to_the_instant(seconds: float, expected: str | None) -> None:
    """No leeway for exp: at the very second the token is expired, not invalid."""
    assert code(Validity(expires_at=NOW - seconds)) == expected


@pytest.mark.parametrize("name", ["valid_at", "issued_at"])
@pytest.mark.parametrize(
    "ahead, expected",
    [(-3600, None), (0, None), (LEEWAY_SECONDS - 1, None), (LEEWAY_SECONDS, None),
     (LEEWAY_SECONDS + 0.001, "token_not_yet_valid"), (LEEWAY_SECONDS + 1, "token_not_yet_valid"),
     (3600, "token_not_yet_valid")],
)  # fmt: skip
def test_clock_of_the_maker_may_run_five_seconds_ahead(name: str, ahead: float, expected: str | None) -> None:
    """An nbf or iat up to 5 s in the future is forgiven; beyond that the token is not valid yet."""
    times: dict[str, Any] = {name: NOW + ahead}
    assert code(Validity(NOW + 7200, **times)) == expected


@pytest.mark.parametrize(
    "audience, expected",
    [(None, None), ("telemetry-bridge", None), ("telemetry-bridge ", "token_invalid"), ("share", "token_invalid"),
     ("Telemetry-Bridge", "token_invalid"), ("*", "token_invalid")],
)  # fmt: skip
def test_audience_is_ours_or_absent(audience: str | None, expected: str | None) -> None:
    """A token for another service is invalid, to the letter; a maker may leave aud out."""
    assert code(Validity(NOW + 1, audience=audience)) == expected


def test_wrong_audience_is_not_told_that_it_expired() -> None:
    """Another service's token learns nothing of its times."""
    assert code(Validity(NOW - 1, audience="share")) == "token_invalid"


def test_expired_wins_over_not_yet_valid() -> None:
    """A token whose nbf lies after its exp will never work: the client needs a new one."""
    assert code(Validity(NOW - 1, valid_at=NOW + 60)) == "token_expired"


def test_length_of_life_is_bounded_when_asked() -> None:
    """Counted from iat; without iat what is left of it counts; without a bound any life will do."""
    issued, bare = Validity(NOW + 10, issued_at=NOW - 90.5), Validity(NOW + 101)
    assert code(issued, max_seconds=100) == "token_invalid"
    assert code(issued, max_seconds=101) is None
    assert code(bare, max_seconds=100) == "token_invalid"
    assert code(bare, NOW + 1, max_seconds=100) is None
    assert code(Validity(NOW + 1e9)) is None


def test_constants_agree() -> None:
    """The texts of this file mean what they say."""
    assert datetime.fromtimestamp(NOW, UTC).isoformat() == EXP.replace("Z", "+00:00")
