"""Distances on the Earth."""

from __future__ import annotations

import math
from typing import Final

EARTH_RADIUS_M: Final = 6_371_000.0
"""The mean radius. Distances on this sphere are good to 0.5 %."""

METRES_PER_DEGREE: Final = EARTH_RADIUS_M * math.pi / 180.0
"""Of latitude; of longitude at the equator."""


def distance_m(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Metres along the great circle (haversine), from degrees. Good to 0.5 %, also over the antimeridian."""
    north = math.radians(lat2 - lat1)
    east = math.radians(lon2 - lon1)
    across = math.cos(math.radians(lat1)) * math.cos(math.radians(lat2)) * math.sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(math.sin(north / 2) ** 2 + across)))
