"""Where a device is, out of the parsed JSON that it sent. Pure: no clock, no log.

Formats are recognised by shape, row by row of ``bridge.ingest.decoding.formats``; whatever no row knows is read
by the configured pointers to a latitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from bridge.core.telemetry import Fix, Position
from bridge.core.times import parse_time
from bridge.ingest.decoding.formats import ANY, FORMATS, LON, NETWORK_FORMATS, Format, Names
from bridge.ingest.decoding.pointer import find, parse_pointer

MAX_NUMBER_CHARS: Final = 32
"""A number written as text. Real ones are below 20 characters; longer ones only cost time."""
MAX_SPEED_KMH: Final = 5_000.0
"""Above it is a code for "not known" (65,535) or a wrong unit: no aircraft is as fast."""
MIN_ALTITUDE_M: Final = -12_000.0
"""Below the deepest sea; the usual code for "not known", -32,768, is below it."""
MAX_ALTITUDE_M: Final = 100_000.0
"""Where space begins."""
MAX_ACCURACY_M: Final = 20_000_000.0
"""Half way round the Earth: more says nothing, and codes for "not known" (4,294,967,295) are above it."""
MIN_TIME: Final = 946_684_800.0
"""2000-01-01T00:00:00Z. Earlier fixes come from a clock that was never set: 1970, or GPS's own 1980."""
MILLISECONDS_FROM: Final = 1e11
"""Numbers from here on are milliseconds: as seconds it would be the year 5138, as milliseconds it is 1973."""
_MAX_MILLISECONDS: Final = MILLISECONDS_FROM * 1000.0

_new: Final = tuple.__new__
"""Makes a ``Fix`` in 0.11 µs; by its name it takes 0.18 (``python -m timeit``, CPython 3.11)."""


class Shape:
    """One row of the formats, or a configured pointer, ready to read with."""

    __slots__ = ("_below", "_lat", "_lon", "_pointed", "_root", "_row", "is_network", "telltale")

    def __init__(self, row: Format, *, pointed: bool = False) -> None:
        """``pointed``: a message has this shape only where a number stands in the latitude's place."""
        self._row = row
        self._pointed = pointed
        self._root = row.place[0] if row.place else None
        self._below = row.place[1:]
        self._lat, self._lon = row.lat[0], row.lon[0]
        self.is_network = row.is_network
        self.telltale = (row.place or row.needs or row.lat)[0]
        """A key without which no message has this shape: spares most of the calls."""

    def place(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """The object in which the position stands, or None where the message has another shape."""
        row = self._row
        place: Any = document if self._root is None else document.get(self._root)
        if self._below:
            place = find(place, self._below)
        if type(place) is not dict:
            return None
        for key in row.needs:
            if key not in place:
                return None
        if row.beside is not None and row.beside not in document:
            return None
        for key in row.lat:
            if key in place:
                return place if not self._pointed or _number(place[key]) is not None else None
        return None

    def fix(self, place: dict[str, Any], document: dict[str, Any]) -> Fix | None:
        """The fix in ``place``, or None: it is that of something else, or not fit to be shown.

        Not fit: latitude or longitude missing, null, not a number, out of range, both exactly 0, or marked
        not valid by the sender.
        """
        row = self._row
        if row.only is not None and document.get(row.only[0]) != row.only[1]:
            return None
        if row.event in document or (row.valid in place and place[row.valid] == 0):  # false is 0 too
            return None
        lat, lon = place.get(self._lat), place.get(self._lon)
        if type(lat) is not float or type(lon) is not float or row.per_degree != 1.0:
            lat, lon = _first(place, row.lat), _first(place, row.lon)
            if lat is None or lon is None:
                return None
            lat, lon = lat / row.per_degree, lon / row.per_degree
        if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0) or (lat == 0.0 and lon == 0.0):
            return None
        at = _time(place, row.time) if row.time else None
        if at is None and row.root_time:
            at = _time(document, row.root_time)
        return _new(Fix, (lat, lon, at))

    def position(self, payload: bytes, fix: Fix) -> Position:
        """``fix`` and all that stands beside it in the ``payload`` that it was read from.

        A field that makes no sense is None by itself.
        """
        row = self._row
        place = self.place(orjson.loads(payload)) or {}
        speed = _first(place, row.speed)
        if speed is not None:
            speed = speed * row.to_kmh if speed < row.speed_below else None
        altitude = _first(place, row.altitude)
        accuracy = _first(place, row.accuracy)
        return Position(
            fix.lat,
            fix.lon,
            speed if speed is not None and 0.0 <= speed <= MAX_SPEED_KMH else None,
            _heading(row, place),
            altitude if altitude is not None and MIN_ALTITUDE_M <= altitude <= MAX_ALTITUDE_M else None,
            accuracy if accuracy is not None and 0.0 < accuracy <= MAX_ACCURACY_M else None,
            fix.time,
        )


class Shapes:
    """All shapes in which a position is looked for, in their order.

    The first row of FORMATS that fits decides, then the first of ``position_pointers`` that leads to a
    number: longitude and all else are then looked up by the usual names beside it. Last comes what a
    LoRaWAN network knows of the device.
    """

    def __init__(self, position_pointers: Sequence[str]) -> None:
        """``position_pointers`` are JSON pointers to latitudes; ValueError when one cannot be read."""
        pointed = [Shape(_pointed(text), pointed=True) for text in position_pointers]
        shapes = [*map(Shape, FORMATS), *pointed, *map(Shape, NETWORK_FORMATS)]
        self._shapes = tuple((shape.telltale, shape) for shape in shapes)

    def locate(self, document: Any) -> tuple[Fix, Shape] | None:
        """The fix in a parsed message and the shape that it was found by, or None: there is none that is fit.

        Never raises. Numbers may be written as text. A time needs its zone (RFC 3339), or is Unix seconds
        or milliseconds; one that cannot be read is not known.
        """
        if type(document) is dict:
            for telltale, shape in self._shapes:
                if telltale in document:
                    place = shape.place(document)
                    if place is not None:
                        fix = shape.fix(place, document)
                        return None if fix is None else (fix, shape)
        return None


def _pointed(text: str) -> Format:
    """How to read what stands beside the latitude that a pointer leads to: ``gps_lat`` has its ``gps_lon``."""
    *place, lat = parse_pointer(text)
    pairs = [("latitude", "longitude"), ("lat", "lon"), ("lat", "lng"), ("lat", "long")]
    twins = [lat.replace(ours, theirs) for ours, theirs in pairs]
    twins += [lat.replace(ours.upper(), theirs.upper()) for ours, theirs in pairs]
    lon = tuple(dict.fromkeys(name for name in (*twins, *LON) if name != lat))
    return replace(ANY, name=text, place=tuple(place), lat=(lat,), lon=lon)


def _first(place: dict[str, Any], names: Names) -> float | None:
    """The first number that stands under one of ``names``."""
    for name in names:
        if name in place:
            number = _number(place[name])
            if number is not None:
                return number
    return None


def _number(value: object) -> float | None:
    """``value`` as a finite number, also when written as text; bool is none. orjson gives no other numbers."""
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if type(value) is not str or len(value) > MAX_NUMBER_CHARS or "_" in value:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number - number == 0.0 else None  # neither infinite nor NaN


def _heading(row: Format, place: dict[str, Any]) -> float | None:
    """The first usable heading. Senders count to 360 or from -180 to 180; all beyond is a code, as is -1."""
    for name in row.heading:
        number = _number(place.get(name))
        if number is not None and number not in (-1.0, row.no_heading):
            number /= row.heading_per_degree
            if -180.0 <= number <= 360.0:
                number %= 360.0
                return number if number < 360.0 else 0.0  # -1e-20 % 360.0 is 360.0
    return None


def _time(place: dict[str, Any], names: Names) -> float | None:
    """The first usable time that stands under one of ``names``."""
    for name in names:
        if name in place and (at := _moment(place[name])) is not None:
            return at
    return None


def _moment(value: object) -> float | None:
    """``value`` as seconds since the epoch, or None: no time, without zone, or before MIN_TIME."""
    if type(value) is str and value[4:5] == "-":
        try:
            at = parse_time(value)
        except ValueError:
            return None
    else:
        number = _number(value)
        if number is None or number >= _MAX_MILLISECONDS:
            return None
        at = number if number < MILLISECONDS_FROM else number / 1000.0
    return at if MIN_TIME <= at < MILLISECONDS_FROM else None
