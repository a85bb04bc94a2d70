"""A believable moving fleet, for demonstrations and tests. Pure: no clock, no I/O, the same for the same seed.

The model is a city of straight legs: a vehicle drives one, brakes for its end, and there goes straight
on, turns, waits at a light, or delivers. Every leg ends within the vehicle's territory, so nothing is
ever pulled back; position, speed and heading change only at the rates below.
"""

from __future__ import annotations

import json
import math
from random import Random
from typing import Final

from bridge.core.geo import METRES_PER_DEGREE
from bridge.core.times import timestamp

MAX_VEHICLES: Final = 10_000
"""More is beyond what one Python thread publishes at one a second."""
TERRITORY_M: Final = 4_000.0
"""How far from its home a vehicle's legs reach."""
SPREAD_M: Final = 2_500.0
"""How far from the centre the homes lie."""
MAX_SPEED_MPS: Final = 25.0
"""90 km/h, a lorry's limit."""
ACCELERATION_MPS2: Final = 1.4
"""Pulling away: a loaded van."""
BRAKING_MPS2: Final = 2.0
"""Comfortable braking; passengers complain above 2.5."""
LATERAL_MPS2: Final = 2.0
"""Sideways acceleration in a bend; it limits how fast the heading may change at speed."""
TURN_RADIUS_M: Final = 9.0
"""The tightest turn; it limits how fast the heading may change at a crawl, and at rest to nothing."""
TURN_SPEED_MPS: Final = 5.0
"""Speed in a corner: 18 km/h, a bend of 12.5 m at the lateral limit."""
FUEL_PERCENT_PER_M: Final = 2.5e-4
"""A tank lasts 400 km. It is filled at a delivery, below a quarter."""
MAX_STEP_SECONDS: Final = 0.5
"""Longest step of the integration; above it a corner is cut visibly."""
SANTIAGO: Final = (-33.4489, -70.6693)
"""The default centre, latitude and longitude in degrees: a city on a grid, far from water."""

_TURNS = (0.0, 90.0, -90.0, 180.0)
_TURN_WEIGHTS = (5.0, 3.0, 3.0, 0.0)
"""Straight on, right, left, and back: the last only where nothing else leaves room."""
_LIGHT, _DELIVERY, _PASS = "light", "delivery", "pass"


def angle_between(start: float, end: float) -> float:
    """The shorter way from one heading to another, in degrees from -180 to 180; positive is clockwise."""
    return (end - start + 180.0) % 360.0 - 180.0


class Vehicle:
    """One vehicle. Read its attributes; only ``advance()`` changes them."""

    def __init__(self, device_id: str, home: tuple[float, float], random: Random) -> None:
        self.device_id = device_id
        self.lat, self.lon = home
        """Degrees, WGS 84."""
        self.speed_mps = 0.0
        self.ignition = True
        self.fuel_percent = random.uniform(20.0, 100.0)
        self._home = home
        self._random = random
        self._road_deg = random.choice(_TURNS) % 360.0
        self._wander_mps = 0.0
        self._wait_left = self._leg_left_m = 0.0
        self._next_leg()
        self.heading_deg = self._road_deg
        """Degrees clockwise from north, at least 0 and below 360. Keeps its value at rest."""
        self._leg_left_m *= random.random()
        if random.random() < 0.2:
            self._leg_left_m, self._doing = 0.0, _DELIVERY

    @property
    def topic(self) -> str:
        """The MQTT topic that its positions are published to."""
        return f"fleet/{self.device_id}/position"

    def advance(self, seconds: float) -> None:
        """Live for ``seconds``. The cost grows with the time: about 2 µs for each half second."""
        while seconds > 1e-9:
            step = min(seconds, MAX_STEP_SECONDS)
            self._step(step)
            seconds -= step

    def _step(self, dt: float) -> None:
        if self._wait_left > 0.0:
            self._wait_left -= dt
            if self._wait_left <= 0.0:
                self.ignition = True
                self._next_leg()
        elif self._leg_left_m <= 0.5 and (self._doing == _PASS or self.speed_mps < 0.3):
            self._arrive()
        else:
            self._drive(dt)

    def _drive(self, dt: float) -> None:
        to_turn = angle_between(self.heading_deg, self._road_deg)
        self._wander_mps += dt * (-0.1 * self._wander_mps + self._random.gauss(0.0, 0.4))
        wanted = TURN_SPEED_MPS if abs(to_turn) > 8.0 else self._cruise_mps + self._wander_mps
        # Speed from which comfortable braking still ends at the leg's end: v² = u² + 2as.
        end_mps = TURN_SPEED_MPS if self._doing == _PASS else 0.0
        in_time = math.sqrt(end_mps**2 + 2 * 0.85 * BRAKING_MPS2 * max(0.0, self._leg_left_m))
        wanted = min(wanted, in_time, MAX_SPEED_MPS)
        change = min(max(wanted - self.speed_mps, -BRAKING_MPS2 * dt), ACCELERATION_MPS2 * dt)
        before, self.speed_mps = self.speed_mps, max(0.0, self.speed_mps + change)
        moved = (before + self.speed_mps) / 2 * dt

        limit = math.degrees(turn_rate(self.speed_mps)) * dt
        turned = min(max(to_turn, -limit), limit)
        middle = math.radians(self.heading_deg + turned / 2)
        self.heading_deg = (self.heading_deg + turned) % 360.0
        self.lat += moved * math.cos(middle) / METRES_PER_DEGREE
        self.lon += moved * math.sin(middle) / (METRES_PER_DEGREE * math.cos(math.radians(self.lat)))
        self._leg_left_m -= moved
        self.fuel_percent -= moved * FUEL_PERCENT_PER_M

    def _arrive(self) -> None:
        """At the end of a leg: wait, or go on."""
        if self._doing == _PASS:
            self._next_leg()
            return
        self.speed_mps = 0.0
        if self._doing == _LIGHT:
            self._wait_left = self._random.uniform(8.0, 45.0)
        else:
            self._wait_left = self._random.uniform(60.0, 360.0)
            self.ignition = False
            if self.fuel_percent < 25.0:
                self.fuel_percent = 100.0

    def _next_leg(self) -> None:
        """Choose a direction that leaves room within the territory, a length, a speed and what ends it."""
        random = self._random
        length = random.uniform(120.0, 500.0) if random.random() < 0.7 else random.uniform(500.0, 1_500.0)
        road_deg = self._road_deg + random.gauss(0.0, 4.0)  # few streets meet at exactly 90°
        rooms = [self._room_m(road_deg + turn) for turn in _TURNS]
        weights = [weight if room > length else 0.0 for weight, room in zip(_TURN_WEIGHTS, rooms, strict=True)]
        if any(weights):
            turn = random.choices(_TURNS, weights)[0]
        else:  # at the edge: whichever way has most room, a U-turn if need be
            turn = _TURNS[rooms.index(max(rooms))]
            length = min(length, max(rooms))
        self._road_deg = (road_deg + turn) % 360.0
        self._leg_left_m = length
        self._cruise_mps = random.uniform(9.0, 15.0) if length < 500.0 else random.uniform(13.0, 20.0)
        self._doing = random.choices((_PASS, _LIGHT, _DELIVERY), (6.0, 3.0, 0.6))[0]
        if self.fuel_percent < 10.0:
            self._doing = _DELIVERY

    def _offset_m(self) -> tuple[float, float]:
        """Metres north and east of home."""
        north = (self.lat - self._home[0]) * METRES_PER_DEGREE
        return north, (self.lon - self._home[1]) * METRES_PER_DEGREE * math.cos(math.radians(self.lat))

    def _room_m(self, heading_deg: float) -> float:
        """How far one can drive on ``heading_deg`` before the edge of the territory; 0 when outside."""
        north, east = self._offset_m()
        angle = math.radians(heading_deg)
        along = north * math.cos(angle) + east * math.sin(angle)
        inside = along**2 + TERRITORY_M**2 - north**2 - east**2
        return max(0.0, math.sqrt(inside) - along) if inside > 0.0 else 0.0


def turn_rate(speed_mps: float) -> float:
    """The fastest change of heading at a speed, in radians per second: none at rest, less again when fast."""
    if speed_mps <= 0.0:
        return 0.0
    return min(speed_mps / TURN_RADIUS_M, LATERAL_MPS2 / speed_mps)


class Fleet:
    """Vehicles ``truck-001`` and on around a centre. Adding vehicles does not change those before them.

    ``vehicles`` is 1 to MAX_VEHICLES, else ValueError. The same arguments and the same steps give the same journeys.
    """

    def __init__(self, vehicles: int, seed: int, center: tuple[float, float] = SANTIAGO) -> None:
        if not 1 <= vehicles <= MAX_VEHICLES:
            raise ValueError(f"the number of vehicles must be from 1 to {MAX_VEHICLES:,}")
        self.vehicles = tuple(self._vehicle(number, seed, center) for number in range(1, vehicles + 1))

    @staticmethod
    def _vehicle(number: int, seed: int, center: tuple[float, float]) -> Vehicle:
        random = Random(f"{seed}/{number}")  # noqa: S311 - a simulation must repeat, not be secret
        distance, angle = SPREAD_M * math.sqrt(random.random()), random.uniform(0.0, math.tau)
        lat = center[0] + distance * math.cos(angle) / METRES_PER_DEGREE
        lon = center[1] + distance * math.sin(angle) / (METRES_PER_DEGREE * math.cos(math.radians(center[0])))
        return Vehicle(f"truck-{number:03d}", (lat, lon), random)


def payload(vehicle: Vehicle, when: float) -> bytes:
    """The vehicle's state at ``when`` (seconds since the epoch) as JSON: SPEED in km/h, LAT, LON, HEADING in °."""
    data = {
        "DEVICE_ID": vehicle.device_id,
        "LAT": round(vehicle.lat, 6),
        "LON": round(vehicle.lon, 6),
        "SPEED": round(vehicle.speed_mps * 3.6, 1),
        "HEADING": round(vehicle.heading_deg, 1) % 360.0,
        "IGNITION": vehicle.ignition,
        "FUEL": round(vehicle.fuel_percent, 1),
    }
    return json.dumps({"timestamp": timestamp(when), "data": data}, separators=(",", ":")).encode()
