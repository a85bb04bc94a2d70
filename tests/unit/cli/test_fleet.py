"""The simulated fleet moves as vehicles do."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from bridge.cli.fleet import (
    ACCELERATION_MPS2,
    BRAKING_MPS2,
    LATERAL_MPS2,
    MAX_SPEED_MPS,
    MAX_VEHICLES,
    SANTIAGO,
    TERRITORY_M,
    TURN_RADIUS_M,
    Fleet,
    Vehicle,
    angle_between,
    payload,
    turn_rate,
)
from bridge.core.device_ids import is_device_id
from bridge.core.geo import METRES_PER_DEGREE, distance_m

Journey = list[tuple[float, float, float, float]]
Journeys = list[Journey]
HALF_HOUR = 1_800
NOON = datetime(2024, 12, 11, 12, 0, tzinfo=UTC).timestamp()


def journey(vehicle: Vehicle, seconds: int) -> Journey:
    """Latitude, longitude, speed and heading of a vehicle, once a second."""
    states = []
    for _ in range(seconds):
        vehicle.advance(1.0)
        states.append((vehicle.lat, vehicle.lon, vehicle.speed_mps, vehicle.heading_deg))
    return states


@pytest.fixture(scope="module")
def journeys() -> Journeys:
    """Half an hour of twelve vehicles."""
    return [journey(vehicle, HALF_HOUR) for vehicle in Fleet(12, seed=7).vehicles]


def test_speed_and_its_changes_stay_within_a_vehicles_means(journeys: Journeys) -> None:
    """No vehicle exceeds the speed limit, pulls away or brakes harder than stated."""
    for states in journeys:
        speeds = [speed for _, _, speed, _ in states]
        assert all(0.0 <= speed <= MAX_SPEED_MPS for speed in speeds)
        changes = [after - before for before, after in pairwise(speeds)]
        assert max(changes) <= ACCELERATION_MPS2 + 1e-9
        assert min(changes) >= -BRAKING_MPS2 - 0.3  # the last 0.3 m/s before a stop are rounded to rest


def test_positions_never_jump_and_agree_with_the_speed(journeys: Journeys) -> None:
    """The distance between two seconds is the distance that the two speeds allow."""
    for states in journeys:
        for (lat, lon, speed, _), (lat2, lon2, speed2, _) in pairwise(states):
            metres = math.hypot(
                (lat2 - lat) * METRES_PER_DEGREE,
                (lon2 - lon) * METRES_PER_DEGREE * math.cos(math.radians(lat)),
            )
            assert metres <= max(speed, speed2) + ACCELERATION_MPS2 / 2 + 1e-6


def test_the_heading_turns_no_faster_than_the_speed_allows(journeys: Journeys) -> None:
    """A vehicle at rest keeps its heading; a fast one turns slowly."""
    fastest = math.degrees(math.sqrt(LATERAL_MPS2 / TURN_RADIUS_M))  # the peak of turn_rate()
    for states in journeys:
        for (_, _, speed, heading), (_, _, speed2, heading2) in pairwise(states):
            turned = abs(angle_between(heading, heading2))
            assert 0.0 <= heading2 < 360.0
            assert turned <= fastest + 1e-6
            if speed == speed2 == 0.0:
                assert turned == 0.0
            if min(speed, speed2) > 10.0:
                assert turned <= math.degrees(turn_rate(8.0))


def test_vehicles_stop_and_start_again(journeys: Journeys) -> None:
    """Within half an hour everyone stands for some seconds and drives off again; most of the time most drive."""
    for states in journeys:
        moving = [speed > 0.0 for _, _, speed, _ in states]
        assert any(a and not b for a, b in pairwise(moving))
        assert any(b and not a for a, b in pairwise(moving))
    shares = [sum(speed > 0.0 for _, _, speed, _ in states) / HALF_HOUR for states in journeys]
    assert 0.4 < sum(shares) / len(shares) < 0.9


def test_cruising_speed_varies(journeys: Journeys) -> None:
    """The fleet shows city traffic, not a constant."""
    speeds = {round(speed * 3.6) for states in journeys for _, _, speed, _ in states}
    assert len(speeds) > 40
    assert max(speeds) > 50


def test_vehicles_turn_back_at_the_edge_of_their_territory() -> None:
    """After a long day nobody is lost, and nobody sits at home either."""
    farthest = 0.0
    for vehicle in Fleet(4, seed=3).vehicles:
        home = (vehicle.lat, vehicle.lon)
        for _ in range(600):
            vehicle.advance(20.0)
            metres = distance_m(*home, vehicle.lat, vehicle.lon)
            farthest = max(farthest, metres)
            assert metres <= TERRITORY_M + 100.0  # a turn at the edge is a few metres wide
            assert 0.0 < vehicle.fuel_percent <= 100.0
    assert farthest > TERRITORY_M / 2


def test_a_long_step_is_as_safe_as_short_ones() -> None:
    """A process that slept comes back to a vehicle that drove on, not to one that shot off in a line."""
    vehicle = Fleet(1, seed=5).vehicles[0]
    home = (vehicle.lat, vehicle.lon)
    vehicle.advance(3_600.0)
    assert distance_m(*home, vehicle.lat, vehicle.lon) <= TERRITORY_M + 100.0


def test_device_ids_can_be_typed_and_subscribed_to() -> None:
    """Ids count from truck-001, are valid device ids, and name the topic."""
    vehicles = Fleet(1_001, seed=1).vehicles
    assert [vehicles[0].device_id, vehicles[-1].device_id] == ["truck-001", "truck-1001"]
    assert all(is_device_id(vehicle.device_id) for vehicle in vehicles)
    assert vehicles[0].topic == "fleet/truck-001/position"


def test_the_same_seed_gives_the_same_journeys_and_another_seed_others() -> None:
    """A demonstration can be repeated."""
    assert journey(Fleet(2, seed=9).vehicles[1], 120) == journey(Fleet(2, seed=9).vehicles[1], 120)
    assert journey(Fleet(2, seed=9).vehicles[1], 120) != journey(Fleet(2, seed=10).vehicles[1], 120)


def test_adding_vehicles_does_not_change_those_before_them() -> None:
    """truck-001 of a fleet of one drives like truck-001 of a fleet of fifty."""
    assert journey(Fleet(1, seed=9).vehicles[0], 120) == journey(Fleet(50, seed=9).vehicles[0], 120)


def test_homes_lie_around_the_centre() -> None:
    """All vehicles begin within 3 km of where one asked for them."""
    for vehicle in Fleet(50, seed=1, center=SANTIAGO).vehicles:
        north = (vehicle.lat - SANTIAGO[0]) * METRES_PER_DEGREE
        east = (vehicle.lon - SANTIAGO[1]) * METRES_PER_DEGREE * math.cos(math.radians(SANTIAGO[0]))
        assert math.hypot(north, east) < 3_000.0


def test_the_payload_is_the_device_id_envelope() -> None:
    """Valid JSON with a UTC timestamp, the id, coordinates, km/h and degrees; numbers are finite."""
    vehicle = Fleet(1, seed=4).vehicles[0]
    vehicle.advance(200.0)
    text = payload(vehicle, NOON)
    document = json.loads(text)
    assert document["timestamp"] == "2024-12-11T12:00:00.000Z"
    data = document["data"]
    assert list(data) == ["DEVICE_ID", "LAT", "LON", "SPEED", "HEADING", "IGNITION", "FUEL"]
    assert data["DEVICE_ID"] == "truck-001"
    assert data["LAT"] == pytest.approx(vehicle.lat, abs=1e-6)
    assert data["SPEED"] == pytest.approx(vehicle.speed_mps * 3.6, abs=0.06)
    assert 0.0 <= data["HEADING"] < 360.0


@pytest.mark.parametrize("vehicles", [-1, 0, MAX_VEHICLES + 1])
def test_fleet_of_no_or_too_many_vehicles_is_refused(vehicles: int) -> None:
    """Before any of them is made."""
    with pytest.raises(ValueError, match="from 1 to 10,000"):
        Fleet(vehicles, seed=1)
