"""What the public sees: the granted fields, on the grid, and nothing by which to undo it."""

from __future__ import annotations

import math
from itertools import pairwise

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.core.geo import distance_m
from bridge.core.telemetry import Position
from share.model.grant import FIELDS, Grant
from share.stream.projection import grid, position_json, project, public_frame, public_position

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)
PRECISIONS = st.floats(10, 100_000) | st.sampled_from([10.0, 100.0, 500.0, 1_000.0, 100_000.0])
POSITIONS = st.builds(
    Position,
    LATITUDES,
    LONGITUDES,
    st.none() | st.floats(0, 5_000),
    st.none() | st.floats(0, 360, exclude_max=True),
    st.none() | st.floats(-12_000, 100_000),
    st.none() | st.floats(0, 2e7, exclude_min=True),
    st.none() | st.floats(946_684_800, 1e11, exclude_max=True),
)
GRANTS = st.builds(
    Grant,
    aliases=st.just((("A", "Van 1"),)),
    fields=st.frozensets(st.sampled_from(FIELDS)),
    precision_m=st.just(0.0) | PRECISIONS,
)
FULL = Position(-33.4567123, -70.6789, 47.31, 100.26, 512.34, 5.04, 1733913000.9876)
HALF_DIAGONAL = math.sqrt(0.5)
ROUNDING_M = 0.2
"""What six decimals may add."""


def grant(precision_m: float = 0.0, fields: tuple[str, ...] = FIELDS) -> Grant:
    """A grant of one device."""
    return Grant((("A", "Van 1"),), fields=frozenset(fields), precision_m=precision_m)


def view(position: Position, granted: Grant) -> Position:
    """``position`` as the viewers of ``granted`` see it."""
    return public_position(position, granted.fields, granted.precision_m)


# --- the grid ----------------------------------------------------------------------------------------------------


@settings(max_examples=2000)
@given(LATITUDES, LONGITUDES, PRECISIONS)
@example(90.0, 180.0, 10.0)
@example(-90.0, -180.0, 10.0)
@example(-90.0, 180.0, 100_000.0)
@example(89.99999999999999, 179.99999999999997, 99_999.9)
def test_shown_place_is_in_range_near_the_true_one_and_its_own(lat: float, lon: float, precision_m: float) -> None:
    """At most the half diagonal of a cell away, anywhere on Earth; and showing it again changes nothing."""
    shown = grid(lat, lon, precision_m)
    assert -90 <= shown[0] <= 90 and -180 <= shown[1] <= 180
    assert shown == (round(shown[0], 6), round(shown[1], 6))
    assert distance_m(lat, lon, *shown) <= precision_m * HALF_DIAGONAL + ROUNDING_M
    assert grid(*shown, precision_m) == shown


@settings(max_examples=2000)
@given(LATITUDES, LONGITUDES, PRECISIONS, st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_every_place_of_a_cell_is_shown_as_the_same_one(
    lat: float, lon: float, precision_m: float, north: float, east: float
) -> None:
    """So that a million positions at rest tell as much as one: there is no noise to average out."""
    middle = grid(lat, lon, precision_m)
    columns = math.ceil(360 / max(1e-9, neighbour_degrees(middle, precision_m)) - 0.5)
    height = 180 / math.ceil(math.pi * 6_371_000 / precision_m)
    place = (middle[0] + north * height, middle[1] + east * 360 / columns)
    assert grid(*place, precision_m) == middle


def neighbour_degrees(middle: tuple[float, float], precision_m: float) -> float:
    """The width of a cell, found from outside: bisect for the edge east of its middle."""
    inside, outside = middle[1], middle[1] + 180.0
    if grid(middle[0], wrapped(outside), precision_m) == middle:
        return 360.0
    for _ in range(60):
        between = (inside + outside) / 2
        if grid(middle[0], wrapped(between), precision_m) == middle:
            inside = between
        else:
            outside = between
    return 2 * (inside - middle[1])


def wrapped(lon: float) -> float:
    """``lon`` within -180 to 180."""
    return (lon + 180.0) % 360.0 - 180.0


@pytest.mark.parametrize("lat", [0.0, 33.45, -60.0, 71.2, 80.0, -85.0])
@pytest.mark.parametrize("precision_m", [50.0, 500.0, 5_000.0])
def test_cells_are_about_as_wide_as_high_at_every_latitude(lat: float, precision_m: float) -> None:
    """A degree of longitude shrinks towards the poles; the cells' number shrinks with it."""
    middle = grid(lat, 10.0, precision_m)
    half = neighbour_degrees(middle, precision_m) / 2
    width = 2 * distance_m(*middle, middle[0], middle[1] + half)
    assert 0.9 * precision_m <= width <= 1.001 * precision_m + ROUNDING_M


@given(LATITUDES, PRECISIONS)
@example(0.0, 29521.0)
def test_both_sides_of_the_antimeridian_agree(lat: float, precision_m: float) -> None:
    """180° and -180° are one place, in one cell."""
    assert grid(lat, 180.0, precision_m) == grid(lat, -180.0, precision_m)


def test_a_pole_has_a_few_cells() -> None:
    """Not the thousands that a grid of degrees would have."""
    assert 1 <= len({grid(90.0, lon, 1000.0) for lon in range(-180, 180)}) <= 7
    assert 1 <= len({grid(-90.0, lon, 1000.0) for lon in range(-180, 180)}) <= 7


def test_grid_does_not_depend_on_the_way() -> None:
    """Rows lie the same all around the Earth: driving east never shows another latitude."""
    assert len({grid(51.5, lon / 10, 500.0)[0] for lon in range(-1800, 1801)}) == 1


# --- fields ------------------------------------------------------------------------------------------------------


@settings(max_examples=2000)
@given(POSITIONS, GRANTS)
def test_nothing_outside_the_grant_is_ever_shown(position: Position, granted: Grant) -> None:
    """Neither a field that was not granted nor a place off the grid, in the very bytes that the public gets."""
    shown = orjson.loads(position_json(view(position, granted)))
    measured = {name for name in FIELDS if getattr(position, name) is not None}
    assert set(shown) == {"lat", "lon"} | (granted.fields & measured)
    if granted.precision_m:
        assert (shown["lat"], shown["lon"]) == grid(position.lat, position.lon, granted.precision_m)
        assert grid(shown["lat"], shown["lon"], granted.precision_m) == (shown["lat"], shown["lon"])
        assert shown.get("speed_kmh", 0) % 10 == 0
        assert shown.get("heading_deg", 0) in range(0, 360, 45)
        assert shown.get("accuracy_m", math.inf) >= round(granted.precision_m, 1)
        assert shown.get("time", ".000Z").endswith(".000Z")
        steps = shown.get("altitude_m", 0) / granted.precision_m
        assert abs(steps - round(steps)) * granted.precision_m <= 0.06
    else:
        assert abs(shown["lat"] - position.lat) <= 1e-6 and abs(shown["lon"] - position.lon) <= 1e-6
        assert 0 <= shown.get("heading_deg", 0) < 360


@settings(max_examples=2000)
@given(POSITIONS, GRANTS)
def test_what_is_shown_may_be_shown_again(position: Position, granted: Grant) -> None:
    """The view of a view is the view: a second pass can neither leak nor drift."""
    shown = view(position, granted)
    again = view(shown, granted)
    assert again[:4] + again[5:] == shown[:4] + shown[5:]
    assert again.altitude_m == pytest.approx(shown.altitude_m)


@settings(max_examples=2000)
@given(POSITIONS, PRECISIONS, st.floats(-0.4, 0.4), st.floats(0, 0.99))
def test_two_fixes_in_one_cell_look_alike(position: Position, precision_m: float, north: float, later: float) -> None:
    """At rest in a cell, whatever the receiver's jitter in place and time, the public bytes stay the same."""
    lat, lon = grid(position.lat, position.lon, precision_m)
    height = 180 / math.ceil(math.pi * 6_371_000 / precision_m)
    here = Position(lat + north * height, lon, 0.4, 44.0, 100.0, 4.0, 1733913000.0 + later)
    there = Position(lat, lon, 1.2, 46.0, 100.0, 6.0, 1733913000.0)
    granted = grant(precision_m)
    assert position_json(view(here, granted)) == position_json(view(there, granted))


def test_exact_grant_shows_everything_as_it_is() -> None:
    """Six decimals of a degree, one of all else, the time to the millisecond."""
    assert view(FULL, grant()) == FULL
    assert orjson.loads(position_json(FULL)) == {
        "lat": -33.456712, "lon": -70.6789, "speed_kmh": 47.3, "heading_deg": 100.3, "altitude_m": 512.3,
        "accuracy_m": 5.0, "time": "2024-12-11T10:30:00.987Z",
    }  # fmt: skip


def test_grants_of_one_shape_are_worked_out_once() -> None:
    """The same bytes serve every share that shows the same of a position; another shape has its own."""
    fields, again = frozenset(FIELDS), frozenset(list(FIELDS))
    assert project(FULL, fields, 0.0) is project(FULL, again, 0.0)
    assert project(FULL, fields, 500.0).body == position_json(view(FULL, grant(500.0)))
    assert project(FULL, frozenset(), 0.0).body == b'{"lat":-33.456712,"lon":-70.6789}'


def test_grid_takes_steps_in_all_that_adds_up_to_a_path() -> None:
    """Speed by 10 km/h, heading by 45°, altitude by the grid, seconds whole, accuracy never below the grid."""
    assert view(FULL, grant(500.0))[2:] == (50.0, 90.0, 500.0, 500.0, 1733913000.0)
    assert view(FULL._replace(accuracy_m=800.0), grant(500.0)).accuracy_m == 800.0
    assert view(FULL._replace(heading_deg=359.0, speed_kmh=4.9), grant(500.0))[2:4] == (0.0, 0.0)


def test_order_of_the_json_is_fixed() -> None:
    """The place, then FIELDS in their order; and no minus before a zero."""
    assert list(orjson.loads(position_json(FULL))) == ["lat", "lon", *FIELDS]
    assert position_json(Position(-1e-9, 5, 0.0, 359.96, -0.01)) == (
        b'{"lat":0.0,"lon":5.0,"speed_kmh":0.0,"heading_deg":0.0,"altitude_m":0.0}'
    )


# --- frames and distances ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["Van 1", 'quo"te\\', "地図 🚚", "x" * 40])
@pytest.mark.parametrize("replay", [True, False])
def test_public_frame_is_one_text_message(alias: str, replay: bool) -> None:
    """A whole, unmasked WebSocket text frame around the event of the wire."""
    body = position_json(FULL)
    frame = public_frame("k3-17", alias, body, replay)
    assert frame[:2] == b"\x81\x7e"
    assert int.from_bytes(frame[2:4], "big") == len(frame) - 4
    event = orjson.loads(frame[4:])
    assert event.pop("data") == orjson.loads(body)
    assert event == {"event": "message", "id": "k3-17", "alias": alias, **({"replay": True} if replay else {})}


def test_distance_is_that_of_the_great_circle() -> None:
    """Within half a percent of the ellipsoid: Helsinki to Tallinn, over the antimeridian, over the pole, to itself."""
    assert distance_m(60.1699, 24.9384, 59.4370, 24.7536) == pytest.approx(82_300, rel=0.005)
    assert distance_m(0, 179.5, 0, -179.5) == pytest.approx(111_195, rel=0.005)
    assert distance_m(89, 0, 89, 180) == pytest.approx(222_390, rel=0.005)
    assert distance_m(1.5, 2.5, 1.5, 2.5) == 0.0


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distance_is_the_same_both_ways_and_never_above_half_the_earth(
    lat1: float, lon1: float, lat2: float, lon2: float
) -> None:
    """Also for antipodes, where rounding would leave the sine's range."""
    there = distance_m(lat1, lon1, lat2, lon2)
    assert 0 <= there <= math.pi * 6_371_000 + 1
    assert there == pytest.approx(distance_m(lat2, lon2, lat1, lon1), abs=1e-3)


def test_drive_through_cells_shows_one_place_for_each() -> None:
    """10 km east in steps of 10 m: some 20 places, in order, each cell's own middle."""
    shown = [grid(51.5, 0.01 + step * 10 / 69_200, 500.0) for step in range(1_000)]
    changes = [(before, after) for before, after in pairwise(shown) if before != after]
    assert 19 <= len(changes) + 1 <= 22
    assert all(after[1] > before[1] for before, after in changes)
