"""Any bytes in; a position that holds its promises, or none."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.cli.fleet import Fleet, payload
from bridge.core.errors import PayloadError
from bridge.core.telemetry import Kind, Position, Telemetry
from bridge.core.times import timestamp
from bridge.ingest.decoding.position import (
    MAX_ACCURACY_M,
    MAX_ALTITUDE_M,
    MAX_NUMBER_CHARS,
    MAX_SPEED_KMH,
    MILLISECONDS_FROM,
    MIN_ALTITUDE_M,
    MIN_TIME,
    Shapes,
)
from tests.telemetry import POINTERS, decoded


def read(document: object, *pointers: str) -> Position | None:
    """The position of a message, with these pointers or the default ones."""
    return decoded(document, pointers=pointers or POINTERS).position


def known(**fields: object) -> Position:
    """The position of a plain message at 1, 2 with these fields more."""
    position = read({"lat": 1, "lon": 2, **fields})
    assert position is not None
    return position


@pytest.mark.parametrize(
    "lat, lon",
    [(None, 2), (1, None), (True, 2), (1, False), ("", 2), ("x", 2), ("nan", 2), ("inf", 2), ("1e400", 2), ([1], 2),
     ({}, 2), ("1" * (MAX_NUMBER_CHARS + 1), 2), ("1_0", 2), ("48,85", 2), (90.000001, 2), (-91, 2), (1, 180.000001),
     (1, -181), (0, 0), ("0", -0.0), (1e308, 2), (2**63, 2)],
)  # fmt: skip
def test_what_is_no_place_is_no_position(lat: object, lon: object) -> None:
    """Missing, not a number, out of range, or the point off Africa where receivers without a fix are."""
    assert read({"lat": lat, "lon": lon}) is None
    assert read({"data": {"LAT": lat, "LON": lon}}) is None


@pytest.mark.parametrize("lat, lon", [(90, 180), (-90, -180), (0, 2), (1, 0), (1e-9, 0), ("-45.5", " 7 ")])
def test_every_other_place_on_earth_is_one(lat: float | str, lon: float | str) -> None:
    """To the very edges; a number may be text."""
    assert read({"lat": lat, "lon": lon}) == Position(float(lat), float(lon))


@pytest.mark.parametrize(
    "payload",
    [b"1", b'"x"', b"null", b"[]", b"{}", b'[{"lat":1,"lon":2}]', b'{"data":[{"LAT":1,"LON":2}]}', b'{"data":null}',
     b'{"lat":18446744073709551616,"lon":2}', b'{"position":1,"lat":3}'],
    ids=lambda payload: repr(payload[:20]),
)  # fmt: skip
def test_what_is_no_object_with_a_place_is_no_position(payload: bytes) -> None:
    """Whatever it is, nothing is raised."""
    assert read(payload) is None


def test_field_that_makes_no_sense_is_not_known_and_the_rest_stays() -> None:
    """One bad field does not cost the position."""
    bad: dict[str, object] = {
        "speed": "fast",
        "heading": None,
        "altitude": True,
        "accuracy": [],
        "timestamp": "yesterday",
    }
    assert known(**bad) == Position(1.0, 2.0)
    assert known(**bad | {"speed": 5}) == Position(1.0, 2.0, 5.0)


@pytest.mark.parametrize(
    "field, value, expected",
    [
        ("speed", 0, 0.0), ("speed", MAX_SPEED_KMH, MAX_SPEED_KMH), ("speed", MAX_SPEED_KMH + 1, None),
        ("speed", -1, None), ("speed", -0.001, None), ("speed", 65535, None),
        ("altitude", MIN_ALTITUDE_M, MIN_ALTITUDE_M), ("altitude", -32768, None), ("altitude", -400, -400.0),
        ("altitude", MAX_ALTITUDE_M, MAX_ALTITUDE_M), ("altitude", MAX_ALTITUDE_M + 1, None),
        ("accuracy", 0, None), ("accuracy", -1, None), ("accuracy", 0.5, 0.5),
        ("accuracy", MAX_ACCURACY_M, MAX_ACCURACY_M), ("accuracy", 4294967295, None),
    ],
)  # fmt: skip
def test_number_within_its_bounds_is_kept(field: str, value: float, expected: float | None) -> None:
    """Beyond them it is some sender's code for "not known"."""
    names = {"speed": "speed_kmh", "altitude": "altitude_m", "accuracy": "accuracy_m"}
    assert known(**{field: value})._asdict()[names[field]] == expected


@pytest.mark.parametrize(
    "value, expected",
    [(0, 0.0), (360, 0.0), (359.9, 359.9), (-90, 270.0), (-180, 180.0), (-1e-20, 0.0), ("12.5", 12.5),
     (-1, None), (-181, None), (361, None), (511, None), (65535, None), (True, None)],
)  # fmt: skip
def test_heading_is_at_least_0_and_below_360(value: object, expected: float | None) -> None:
    """Clockwise from north, whichever way the sender counts; -1 and what no circle has is "not known"."""
    assert known(heading=value).heading_deg == expected
    assert known(heading=value, course=45).heading_deg == (45.0 if expected is None else expected)


@pytest.mark.parametrize(
    "value, expected",
    [
        ("2024-12-11T10:30:00Z", 1733913000.0), ("2024-12-11T11:30:00.250+01:00", 1733913000.25),
        ("2024-12-11T10:30:00", None), ("2024-12-11 10:30:00Z", None), ("2024-12-11", None),
        ("2024-13-11T10:30:00Z", None), ("1970-01-01T00:00:07Z", None), ("1999-12-31T23:59:59Z", None),
        ("2000-01-01T00:00:00Z", MIN_TIME), ("9999-12-31T23:59:59Z", None), ("10:30", None), ("", None),
        (1733913000, 1733913000.0), ("1733913000", 1733913000.0), (1733913000.5, 1733913000.5),
        (1733913000250, 1733913000.25), (1733913000250000, None), (MIN_TIME, MIN_TIME), (MIN_TIME - 1, None),
        (0, None), (-1, None), (True, None), (MILLISECONDS_FROM, None), (MIN_TIME * 1000, MIN_TIME),
        (MILLISECONDS_FROM - 1, MILLISECONDS_FROM - 1), (MILLISECONDS_FROM * 1000, None),
    ],
)  # fmt: skip
def test_time_is_that_of_the_fix_or_not_known(value: object, expected: float | None) -> None:
    """RFC 3339 with its zone, Unix seconds or milliseconds; nobody can say which zone was meant, or which year."""
    assert known(timestamp=value).time == expected


def test_first_usable_time_counts_beside_the_position_and_then_at_the_root() -> None:
    """A time that cannot be used does not hide one that can."""
    root = {"timestamp": 1733913000}
    assert known(time="10:30", **root).time == 1733913000.0
    nested = read({"gps": {"lat": 1, "lon": 2, "ts": 1733913005}, **root}, "/gps/lat")
    assert nested is not None and nested.time == 1733913005.0
    nested = read({"gps": {"lat": 1, "lon": 2, "ts": None}, **root}, "/gps/lat")
    assert nested is not None and nested.time == 1733913000.0


# --- pointers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pointer, document",
    [
        ("/lat", {"lat": 1, "lng": 2}),
        ("/lat", {"lat": 1, "LONG": 2}),
        ("/gps/latitude", {"gps": {"latitude": 1, "longitude": 2}}),
        ("/gps_lat", {"gps_lat": 1, "gps_lon": 2}),
        ("/GPS_LAT", {"GPS_LAT": 1, "GPS_LNG": 2}),
        ("/my.latitude", {"my.latitude": 1, "my.longitude": 2}),
        ("/places/1/lat", {"places": [{"lat": 8, "lon": 9}, {"lat": 1, "lon": 2}]}),
        ("/a~1b/N", {"a/b": {"N": 1, "lon": 2}}),
    ],
)
def test_longitude_is_found_beside_the_latitude(pointer: str, document: dict[str, Any]) -> None:
    """By the latitude's own spelling first, else by the usual names."""
    assert read(document, pointer) == Position(1.0, 2.0)


def test_everything_beside_the_latitude_is_read_by_its_usual_names() -> None:
    """In km/h, degrees and metres."""
    document = {"LAT": 1, "Lon": 2, "Speed": "3", "course": 4, "alt": 5, "gps_accuracy": 6, "ts": 1733913000}
    assert read(document, "/LAT") == Position(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1733913000.0)
    assert read({"LAT": 1, "Lon": 2, "acc": 1}, "/LAT") == Position(1.0, 2.0)


def test_first_pointer_to_a_number_decides() -> None:
    """In the order of the setting; null is no number, but a number out of range is a decision."""
    document = {"a": {"lat": None, "lon": 9}, "b": {"lat": 1, "lon": 2}, "c": {"lat": 99, "lon": 2}}
    assert read(document, "/a/lat", "/b/lat") == Position(1.0, 2.0)
    assert read(document, "/c/lat", "/b/lat") is None
    assert read(document, "/z/lat") is None


def test_position_that_its_sender_does_not_believe_is_none() -> None:
    """Also in a shape of no known name; no statement is no doubt."""
    assert read({"lat": 1, "lon": 2, "valid": False}) is None
    assert read({"lat": 1, "lon": 2, "valid": 0}) is None
    assert read({"lat": 1, "lon": 2, "valid": None}) == read({"lat": 1, "lon": 2, "valid": True}) == Position(1.0, 2.0)


def test_pointer_that_is_none_is_refused_at_once() -> None:
    """As everywhere else: at the start, not at the first message."""
    with pytest.raises(ValueError, match="JSON pointer"):
        Shapes(("lat",))


def test_simulated_fleet_is_read_back() -> None:
    """What ``simulate`` and ``demo`` publish can be shared."""
    vehicle = Fleet(1, seed=7).vehicles[0]
    position = read(payload(vehicle, 1733913000.0))
    assert position is not None
    assert (position.lat, position.lon) == (round(vehicle.lat, 6), round(vehicle.lon, 6))
    assert position.heading_deg == round(vehicle.heading_deg, 1) % 360.0
    assert (position.speed_kmh, position.time) == (round(vehicle.speed_mps * 3.6, 1), 1733913000.0)


# --- everything at once ------------------------------------------------------------------------------------------

KEYS = [
    "data", "LAT", "LON", "SPEED", "HEADING", "timestamp", "position", "latitude", "longitude", "speed", "course",
    "fixTime", "valid", "position.latitude", "position.longitude", "position.valid", "_type", "lat", "lon", "vel",
    "cog", "tst", "sog", "heading", "time", "VP", "long", "spd", "hdg", "payload", "latitude_i", "longitude_i", "type",
    "ground_track", "uplink_message", "decoded_payload", "locations", "user", "frm-payload", "received_at", "object",
    "deviceInfo", "location", "accuracy", "altitude", "gps_accuracy", "lng", "alt",
]  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-200, 400)
    | st.floats()
    | st.floats(-90, 90).map(str)
    | st.sampled_from(
        ["location", "position", "2024-12-11T10:30:00Z", "0001-01-01T00:00:00+23:59", "1e999", "٣", "nan"]
    )
    | st.text(max_size=5)
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8),
    max_leaves=30,
)


def taken(payload: bytes) -> list[Telemetry]:
    """What becomes of a message: one, or none where it is refused."""
    try:
        return [decoded(payload)]
    except PayloadError:
        return []


def assert_holds_its_promises(message: Telemetry | None = None) -> None:
    """Every promise of Telemetry and of its position."""
    if message is None:
        return
    assert (message.kind is Kind.POSITION) == (message.fix is not None)
    position, place = message.position, message.fix or message.fallback
    assert (position is None) == (place is None)
    if position is None or place is None:
        return
    assert (position.lat, position.lon, position.time) == place
    assert all(value is None or (type(value) is float and math.isfinite(value)) for value in position)
    assert -90 <= position.lat <= 90 and -180 <= position.lon <= 180
    assert (position.lat, position.lon) != (0, 0)
    assert position.speed_kmh is None or 0 <= position.speed_kmh <= MAX_SPEED_KMH
    assert position.heading_deg is None or 0 <= position.heading_deg < 360
    assert position.altitude_m is None or MIN_ALTITUDE_M <= position.altitude_m <= MAX_ALTITUDE_M
    assert position.accuracy_m is None or 0 < position.accuracy_m <= MAX_ACCURACY_M
    assert position.time is None or timestamp(position.time) >= "2000"


@settings(max_examples=1000)
@given(DOCUMENTS)
def test_any_json_gives_a_position_that_holds_its_promises_or_none(document: object) -> None:
    """Known keys in any arrangement with any values, NaN among them."""
    assert_holds_its_promises(*taken(json.dumps(document).encode()))


@settings(max_examples=1000)
@given(
    st.fixed_dictionaries({"LAT": SCALARS, "LON": SCALARS}, optional={"SPEED": SCALARS, "HEADING": SCALARS}), SCALARS
)
def test_any_values_in_the_envelope_give_a_position_or_none(data: dict[str, object], at: object) -> None:
    """As above, with a shape that always fits."""
    assert_holds_its_promises(*taken(json.dumps({"timestamp": at, "data": data}).encode()))


@given(st.binary(max_size=200))
def test_any_bytes_give_no_error(payload: bytes) -> None:
    """Nothing is raised, whatever comes."""
    assert_holds_its_promises(*taken(payload))


@given(
    st.floats(-90, 90), st.floats(-180, 180), st.floats(0, MAX_SPEED_KMH), st.floats(0, 360, exclude_max=True),
    st.floats(MIN_TIME, 4e9),
)  # fmt: skip
def test_what_is_said_in_the_envelope_is_what_is_read(
    lat: float, lon: float, speed: float, heading: float, at: float
) -> None:
    """Nothing is lost or rounded on the way."""
    position = read({"timestamp": at, "data": {"LAT": lat, "LON": lon, "SPEED": str(speed), "HEADING": heading}})
    if lat == 0 and lon == 0:
        assert position is None
    else:
        assert position == Position(lat, lon, speed, heading, time=at)
