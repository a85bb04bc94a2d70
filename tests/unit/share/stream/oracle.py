"""What a grant makes of what a device has truly sent, worked out once more, without ``share.stream.projection``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.core.limits import FUTURE_SECONDS
from share.model.grant import Grant
from tests.unit.share.stream.payloads import Truth


@dataclass(frozen=True)
class Sent:
    """What a device has sent, and when it came here: by the wall clock and by the loop's."""

    device_id: str
    truth: Truth
    received_at: float
    monotonic: float
    retained: bool


def shows(grant: Grant, sent: Sent, shown: dict[str, Any]) -> bool:
    """Whether ``shown`` is what viewers of ``grant`` may know of ``sent``."""
    values = dict(sent.truth.values)
    start, received_at, measured_at = grant.starts_at, sent.received_at, values.get("time")
    if start is not None:
        if measured_at is not None and measured_at < start:
            return False
        if measured_at is None and sent.retained:
            return False
        if not sent.retained and received_at < start:
            return False
    if measured_at is None and not sent.retained:
        values["time"] = received_at
    elif measured_at is not None and measured_at > received_at:
        if measured_at > received_at + FUTURE_SECONDS:
            return False
        values["time"] = received_at
    lat, lon = sent.truth.lat, sent.truth.lon
    if grant.precision_m:
        lat, lon = cell(lat, lon, grant.precision_m)
        values = dict(coarse(values, grant.precision_m))
    return (
        (shown["lat"], shown["lon"]) == (lat, lon)
        and shown.keys() - {"lat", "lon"} == grant.fields & values.keys()
        and all(is_about(name, shown[name], values[name]) for name in grant.fields & values.keys())
    )


def is_about(name: str, shown: Any, value: float) -> bool:
    """The same, as far as it is written: to the millisecond, or to one decimal."""
    if name == "time":
        return abs(datetime.fromisoformat(shown).timestamp() - value) <= 0.0011
    return type(shown) is float and abs(shown - value) <= 0.0501 and round(shown, 1) == shown


def coarse(values: dict[str, float], precision_m: float) -> Iterator[tuple[str, float]]:
    """What a grant with a precision makes of all but the place."""
    for name, value in values.items():
        if name == "speed_kmh":
            yield name, 10.0 * math.floor(value / 10.0 + 0.5)
        elif name == "heading_deg":
            yield name, 45.0 * (math.floor(value / 45.0 + 0.5) % 8)
        elif name == "altitude_m":
            yield name, precision_m * math.floor(value / precision_m + 0.5)
        elif name == "accuracy_m":
            yield name, max(precision_m, value)
        else:
            yield name, float(int(value))


def cell(lat: float, lon: float, precision_m: float) -> tuple[float, float]:
    """The middle of the cell, by counting rows from the south pole and columns from 180° west."""
    circle_m = 2.0 * math.pi * 6_371_000.0
    rows = math.ceil(circle_m / 2.0 / precision_m)
    row = math.floor((lat + 90.0) * rows / 180.0)
    bounds = (row * 180.0 / rows - 90.0, (row + 1) * 180.0 / rows - 90.0)
    nearest = 0.0 if bounds[0] <= 0.0 <= bounds[1] else min(map(abs, bounds))
    columns = math.ceil(circle_m * math.cos(math.radians(nearest)) / precision_m)
    column = math.floor((lon + 180.0) * columns / 360.0)
    return round(sum(bounds) / 2.0, 6), round((column + 0.5) * 360.0 / columns - 180.0, 6)
