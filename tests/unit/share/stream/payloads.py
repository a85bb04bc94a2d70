"""Payloads of every format that is known, with the truth that is in them and with much that is nobody's business."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

MARK = "lEaK"
"""Stands in every string that is not to be seen."""
MARK_NUMBER = 7312345678
"""Stands in every number that is not to be seen, but for coordinates."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """Where a device was. ``values`` are by the names of FIELDS; what a format has no place for is missing.

    ``by_network``: a network takes it to be there, it has not said so itself.
    """

    lat: float
    lon: float
    values: dict[str, float]
    by_network: bool = False


def truth(rng: Random, time: float | None) -> Truth:
    """A place and all else. The values keep away from the edges between two steps of a coarse view."""
    values = {
        "speed_kmh": rng.randrange(180) + 0.3,
        "heading_deg": rng.randrange(360) + 0.25,
        "altitude_m": rng.randrange(-300, 4000) + 0.37,
        "accuracy_m": rng.randrange(1, 3000) + 0.4,
    }
    if time is not None:
        values["time"] = time
    lat, lon = rng.choice([(-33.4, -70.6), (0.0, 0.0), (89.9, 179.9), (51.5, -0.1)])
    return Truth(round(lat + rng.uniform(-0.05, 0.05), 6), round(lon + rng.uniform(-0.05, 0.05), 6), values)


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")


def _envelope(t: Truth) -> Document:
    v = t.values
    data = {
        "LAT": t.lat, "LON": str(t.lon), "SPEED": v["speed_kmh"], "HEADING": v["heading_deg"],
        "ALTITUDE": v["altitude_m"], "ACCURACY": v["accuracy_m"],
    }  # fmt: skip
    return {"data": data, **({"timestamp": _iso(v["time"])} if "time" in v else {})}


def _traccar(t: Truth) -> Document:
    v = t.values
    return {
        "position": {
            "latitude": t.lat, "longitude": t.lon, "speed": v["speed_kmh"] / 1.852, "course": v["heading_deg"],
            "altitude": v["altitude_m"], "accuracy": v["accuracy_m"], "valid": True,
            "fixTime": _iso(v["time"]) if "time" in v else None,
        }
    }  # fmt: skip


def _flespi(t: Truth) -> Document:
    v = t.values
    return {
        "position.latitude": t.lat, "position.longitude": t.lon, "position.speed": v["speed_kmh"],
        "position.direction": v["heading_deg"], "position.altitude": v["altitude_m"], "position.valid": True,
        "timestamp": v.get("time"),
    }  # fmt: skip


def _owntracks(t: Truth) -> Document:
    v = t.values
    return {
        "_type": "location", "lat": str(t.lat), "lon": t.lon, "vel": str(v["speed_kmh"]), "cog": v["heading_deg"],
        "alt": v["altitude_m"], "acc": v["accuracy_m"], "tst": v.get("time"),
    }  # fmt: skip


def _digitraffic(t: Truth) -> Document:
    v = t.values
    return {
        "lat": t.lat, "lon": t.lon, "sog": v["speed_kmh"] / 1.852, "cog": v["heading_deg"], "heading": 511,
        "time": v.get("time"),
    }  # fmt: skip


def _hsl(t: Truth) -> Document:
    v = t.values
    return {
        "VP": {
            "lat": t.lat, "long": t.lon, "spd": v["speed_kmh"] / 3.6, "hdg": v["heading_deg"], "acc": 0.4,
            "tst": _iso(v["time"]) if "time" in v else None,
        }
    }  # fmt: skip


def _meshtastic(t: Truth) -> Document:
    v = t.values
    place = {
        "latitude_i": round(t.lat * 1e7), "longitude_i": round(t.lon * 1e7), "ground_speed": v["speed_kmh"],
        "ground_track": v["heading_deg"] * 1e5, "altitude": v["altitude_m"], "time": v.get("time"),
    }  # fmt: skip
    return {"type": "position", "payload": place}


def _home_assistant(t: Truth) -> Document:
    v = t.values
    return {
        "latitude": t.lat, "longitude": t.lon, "gps_accuracy": v["accuracy_m"], "course": v["heading_deg"],
        "altitude": v["altitude_m"], "timestamp": v.get("time"),
    }  # fmt: skip


def _things_stack(t: Truth) -> Document:
    v = t.values
    place = {"latitude": t.lat, "longitude": t.lon, "speed": v["speed_kmh"], "alt": v["altitude_m"]}
    return {"uplink_message": {"decoded_payload": place}, **({"received_at": _iso(v["time"])} if "time" in v else {})}


def _things_stack_network(t: Truth) -> Document:
    place = {"latitude": t.lat, "longitude": t.lon, "accuracy": t.values["accuracy_m"]}
    message = {"locations": {"frm-payload": place}}
    return {"uplink_message": message, **({"received_at": _iso(t.values["time"])} if "time" in t.values else {})}


def _chirpstack(t: Truth) -> Document:
    v = t.values
    place = {"lat": t.lat, "lng": t.lon, "speed": v["speed_kmh"], "bearing": v["heading_deg"]}
    return {"object": place, **({"time": _iso(v["time"])} if "time" in v else {})}


def _pointed(t: Truth) -> Document:
    v = t.values
    return {
        "lat": t.lat, "lng": t.lon, "speed": v["speed_kmh"], "bearing": v["heading_deg"], "alt": v["altitude_m"],
        "accuracy": v["accuracy_m"], "ts": v["time"] * 1000 if "time" in v else None,
    }  # fmt: skip


_ALL = frozenset({"speed_kmh", "heading_deg", "altitude_m", "accuracy_m", "time"})
_MAKERS: tuple[tuple[Callable[[Truth], Document], frozenset[str]], ...] = (
    (_envelope, _ALL),
    (_traccar, _ALL),
    (_owntracks, _ALL),
    (_pointed, _ALL),
    (_flespi, _ALL - {"accuracy_m"}),
    (_digitraffic, _ALL - {"accuracy_m", "altitude_m"}),
    (_hsl, _ALL - {"accuracy_m", "altitude_m"}),
    (_meshtastic, _ALL - {"accuracy_m"}),
    (_home_assistant, _ALL - {"speed_kmh"}),
    (_things_stack, frozenset({"speed_kmh", "altitude_m", "time"})),
    (_things_stack_network, frozenset({"accuracy_m", "time"})),
    (_chirpstack, frozenset({"speed_kmh", "heading_deg", "time"})),
)
_HOSTILE = ('"}]}', "\r\n\r\n", "</script><img src=x>", "\x00\x1b[2J", "\u2028\U0001f69a", '","alias":"', "%s{0}\\", "")


def _junk(rng: Random, device_id: str, depth: int = 0) -> Any:
    """Anything, with a mark in it: the id in all its spellings, other places, deep objects."""
    choice = rng.randrange(7 if depth < 2 else 5)
    if choice == 0:
        return rng.choice([device_id, device_id.upper(), device_id.lower(), f"urn:{device_id}", f"{device_id}/gps"])
    if choice == 1:
        return MARK + rng.choice(_HOSTILE) + MARK
    if choice == 2:
        return MARK_NUMBER * rng.choice([1, -1, 1000]) + rng.randrange(2)
    if choice == 3:
        return {"lat": 77.731234, "lon": 177.731234, "name": MARK, "id": device_id}
    if choice == 4:
        return rng.choice([True, False, None])
    if choice == 5:
        return [_junk(rng, device_id, depth + 1) for _ in range(2)]
    return {rng.choice([device_id, MARK, "alias", "replay"]): _junk(rng, device_id, depth + 1)}


_JUNK_KEYS = (
    "alias",
    "id",
    "event",
    "replay",
    "token",
    "imei",
    "DEVICE_ID",
    "deviceInfo",
    "attributes",
    "driver",
    "key",
)


def payload(rng: Random, device_id: str, found: Truth) -> tuple[bytes, Truth]:
    """``found`` in one of the formats among junk, and what of it this format can say."""
    make, fields = rng.choice(_MAKERS)
    document = make(found)
    places = [document, *(value for value in document.values() if type(value) is dict)]
    for place in places if make is not _hsl else places[1:]:  # HSL's message has one member
        for _ in range(rng.randrange(4)):
            place.setdefault(rng.choice([*_JUNK_KEYS, device_id, MARK]), _junk(rng, device_id))
    said = {name: value for name, value in found.values.items() if name in fields}
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode(), Truth(
        found.lat, found.lon, said, make is _things_stack_network
    )


def no_position(rng: Random, device_id: str) -> bytes:
    """A message from which nothing follows."""
    junk = _junk(rng, device_id)
    return rng.choice(
        [
            json.dumps({"battery": junk, "id": device_id}).encode(),
            json.dumps([junk, device_id]).encode(),
            json.dumps({"lat": 0, "lon": 0.0, "name": device_id, "note": junk}).encode(),
            json.dumps({"lat": 91, "lon": 5, "name": device_id, "note": junk}).encode(),
            json.dumps({"position": {"latitude": 1, "longitude": 2, "fixTime": None, "valid": False}}).encode(),
            json.dumps({"_type": "transition", "lat": 1, "lon": 2, "desc": device_id, "note": junk}).encode(),
            f'{{"lat": 5, "lon": 5, "id": "{device_id}"'.encode(),
            device_id.encode(),
        ]
    )
