"""Where a device is, out of the JSON that it sent: payload bytes → Position. Pure: no clock, no log.

Formats are recognised by shape, row by row of ``bridge.ingest.decoding.formats``; whatever no row knows is read
by the configured pointers to a latitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from bridge.core.telemetry import Position
from bridge.core.times import parse_time
from bridge.ingest.decoding.formats import ANY, FORMATS, LON, NETWORK_FORMATS, ONLY, Format, Names
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


class PositionReader:
    """Reads the position out of payloads of any known shape.

    The first row of FORMATS that fits decides, then the first of ``position_pointers`` that leads to a
    number: longitude and all else are then looked up by the usual names beside it. Last comes what a
    LoRaWAN network knows of the device.
    """

    def __init__(self, position_pointers: Sequence[str]) -> None:
        """``position_pointers`` are JSON pointers to latitudes; ValueError when one cannot be read."""
        self._pointed = tuple(_telltale(_pointed(text)) for text in position_pointers)

    def read(self, payload: bytes) -> Position | None:
        """The position in ``payload``, or None: no valid fix in it. Never raises.

        No fix: latitude or longitude missing, null, not a number, out of range, both exactly 0, or marked
        not valid by the sender. Any other field that makes no sense is None by itself. Numbers may be
        written as text. A time needs its zone (RFC 3339), or is Unix seconds or milliseconds. Of a key
        that stands twice the last counts.

        4.3 µs for the seed format, 4 to 6 µs for the other known formats, up to 9 µs by pointer
        (``python -m timeit``, CPython 3.11).
        """
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return None
        if type(document) is not dict:
            return None
        for telltale, row in _FORMATS:
            if telltale is None or telltale in document:
                place = _place(document, row)
                if place is not None:
                    return _position(row, place, document)
        for telltale, row in self._pointed:
            if telltale in document:
                place = find(document, row.place)
                if type(place) is dict and _number(place.get(row.lat[0])) is not None:
                    return _position(row, place, document)
        for telltale, row in _NETWORK_FORMATS:
            if telltale in document:
                place = _place(document, row)
                if place is not None:
                    return _position(row, place, document)
        return None


def _telltale(row: Format) -> tuple[str | None, Format]:
    """``row`` behind a key without which no message fits it, None where there is none: spares most of the calls."""
    if row.place is ONLY:
        return None, row
    return (row.place or row.needs or row.lat)[0], row


_FORMATS: Final = tuple(_telltale(row) for row in FORMATS)
_NETWORK_FORMATS: Final = tuple(_telltale(row) for row in NETWORK_FORMATS)


def _pointed(text: str) -> Format:
    """How to read what stands beside the latitude that a pointer leads to: ``gps_lat`` has its ``gps_lon``."""
    *place, lat = parse_pointer(text)
    pairs = [("latitude", "longitude"), ("lat", "lon"), ("lat", "lng"), ("lat", "long")]
    twins = [lat.replace(ours, theirs) for ours, theirs in pairs]
    twins += [lat.replace(ours.upper(), theirs.upper()) for ours, theirs in pairs]
    lon = tuple(dict.fromkeys(name for name in (*twins, *LON) if name != lat))
    return ANY._replace(name=text, place=tuple(place), lat=(lat,), lon=lon)


def _place(document: dict[str, Any], row: Format) -> dict[str, Any] | None:
    """The object in which ``row`` finds its position, or None where the message has another shape."""
    place: Any = document
    if row.place is ONLY:
        if len(document) != 1:
            return None
        place = next(iter(document.values()))
        if type(place) is not dict:
            return None
    else:
        for key in row.place:
            place = place.get(key)
            if type(place) is not dict:
                return None
    for key in row.needs:
        if key not in place:
            return None
    for key in row.lat:
        if key in place:
            return place  # type: ignore[no-any-return]
    return None


def _position(row: Format, place: dict[str, Any], document: dict[str, Any]) -> Position | None:
    if row.kind is not None and document.get(row.kind[0]) != row.kind[1]:
        return None
    if place.get(row.valid) == 0:  # false is 0 too
        return None
    lat = _first(place, row.lat)
    lon = _first(place, row.lon)
    if lat is None or lon is None:
        return None
    lat /= row.per_degree
    lon /= row.per_degree
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0) or (lat == 0.0 and lon == 0.0):
        return None
    speed = _first(place, row.speed)
    if speed is not None:
        speed = speed * row.to_kmh if speed < row.speed_below else None
    altitude = _first(place, row.altitude)
    accuracy = _first(place, row.accuracy)
    return Position(
        lat,
        lon,
        speed if speed is not None and 0.0 <= speed <= MAX_SPEED_KMH else None,
        _heading(row, place),
        altitude if altitude is not None and MIN_ALTITUDE_M <= altitude <= MAX_ALTITUDE_M else None,
        accuracy if accuracy is not None and 0.0 < accuracy <= MAX_ACCURACY_M else None,
        _time(row, place, document),
    )


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


def _time(row: Format, place: dict[str, Any], document: dict[str, Any]) -> float | None:
    """The first usable time beside the position, then in the whole message."""
    for name in row.time:
        if name in place and (at := _moment(place[name])) is not None:
            return at
    for name in row.root_time:
        if name in document and (at := _moment(document[name])) is not None:
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
