"""The shapes of positions that are known out of the box, one row each. A table, no code to speak of.

Only what a format's own documentation or source says stands here; where a unit or a field could not be
made sure it is left out, and then unknown. Sources: the booklet of OwnTracks (JSON), ``PositionForwarderJson``
and ``FlespiProtocolDecoder`` of Traccar (the latter for flespi's km/h), ``GPS.cpp`` and the JSON serializer of
Meshtastic's firmware, "Data Formats" of The Things Stack, ``integration.proto`` of ChirpStack v4, the
high-frequency positioning pages of HSL, Digitraffic's marine MQTT and ITU-R M.1371 (AIS) behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

Names = tuple[str, ...]
"""Keys of one object, the likeliest first; the first that holds a usable value counts."""

KNOT: Final = 1.852
"""km/h of a knot."""
METRE_PER_SECOND: Final = 3.6
"""km/h of a metre per second."""


@dataclass(frozen=True, slots=True)
class Format:
    """One shape of position. It is recognised where ``place`` is an object with ``lat`` and all of ``needs``."""

    name: str
    place: Names
    """The keys that lead from the whole message to the object with the position."""
    lat: Names
    lon: Names
    per_degree: float = 1.0
    """What ``lat`` and ``lon`` are divided by."""
    needs: Names = ()
    """Keys that stand in that object beside ``lat``, with any value."""
    beside: str | None = None
    """A key that stands in the whole message, with any value."""
    only: tuple[str, str] | None = None
    """A key of the whole message and its only value with which this is a position of the device itself."""
    event: str | None = None
    """A key of the whole message with which this is the place of an event."""
    is_network: bool = False
    """Whether a network says where it takes the device to be, and not the device."""
    valid: str = "valid"
    """The key in the place that is false (or 0) where the sender itself does not believe the position."""
    speed: Names = ()
    to_kmh: float = 1.0
    speed_below: float = math.inf
    """Speeds from here on, in the sender's unit, mean: not known."""
    heading: Names = ()
    heading_per_degree: float = 1.0
    no_heading: float = -1.0
    """The heading that means: not known. -1 is that of Apple's Core Location, and of many apps therefore."""
    altitude: Names = ()
    accuracy: Names = ()
    time: Names = ()
    """When the fix was taken, beside the position."""
    root_time: Names = ()
    """The same in the whole message, asked after ``time``."""


def _cased(*names: str) -> Names:
    return tuple(dict.fromkeys([*names, *(name.upper() for name in names), *(name.capitalize() for name in names)]))


LAT: Final = _cased("latitude", "lat")
LON: Final = _cased("longitude", "lon", "lng", "long")
_SPEED = _cased("speed", "speed_kmh")
_HEADING = _cased("heading", "heading_deg", "course", "bearing", "direction", "cog")
_ALTITUDE = _cased("altitude", "altitude_m", "alt")
_ACCURACY = _cased("accuracy", "accuracy_m", "gps_accuracy")  # not "acc": with trackers that is the ignition
_TIME = _cased("time", "timestamp", "ts", "tst")

ANY: Final = Format(
    "any", (), LAT, LON,
    speed=_SPEED, heading=_HEADING, altitude=_ALTITUDE, accuracy=_ACCURACY, time=_TIME, root_time=_TIME,
)  # fmt: skip
"""What is read from a sender that no row knows: the usual names, taken as km/h, degrees and metres."""

_LOCATION = Format(
    "", (), ("latitude",), ("longitude",), altitude=("altitude",), accuracy=("accuracy",),
    root_time=("received_at", "time"), is_network=True,
)  # fmt: skip

FORMATS: Final = (
    Format(  # the sender does not state the unit of SPEED; taken as km/h
        "DEVICE_ID envelope", ("data",), ("LAT",), ("LON",),
        speed=("SPEED",), heading=("HEADING",), altitude=("ALTITUDE",), accuracy=("ACCURACY",),
        root_time=("timestamp",),
    ),
    Format(
        "Traccar forwarder", ("position",), ("latitude",), ("longitude",), needs=("fixTime",), event="event",
        speed=("speed",), to_kmh=KNOT, heading=("course",), altitude=("altitude",), accuracy=("accuracy",),
        time=("fixTime",),
    ),
    Format(
        "flespi", (), ("position.latitude",), ("position.longitude",), valid="position.valid",
        speed=("position.speed",), heading=("position.direction",), altitude=("position.altitude",),
        time=("timestamp",),
    ),
    Format(  # a transition (region entered or left) has coordinates too, but of the region's event
        "OwnTracks", (), ("lat",), ("lon",), needs=("_type",), only=("_type", "location"),
        speed=("vel",), heading=("cog",), altitude=("alt",), accuracy=("acc",), time=("tst",),
    ),
    Format(  # AIS: 102.2 knots is "that or more", 102.3 is not available; course 360 and heading 511 likewise
        "Digitraffic marine", (), ("lat",), ("lon",), needs=("sog",),
        speed=("sog",), to_kmh=KNOT, speed_below=102.2, heading=("cog", "heading"), no_heading=360.0, time=("time",),
    ),
    Format(  # acc is acceleration; doors, stops and signals (DOO, ARS, TLR, …) are events that have a place
        "HSL HFP", ("VP",), ("lat",), ("long",), needs=("long", "tst"),
        speed=("spd",), to_kmh=METRE_PER_SECOND, heading=("hdg",), time=("tst", "tsi"),
    ),
    Format(  # the .proto's comment says m/s and 1/100 degree, the firmware writes km/h and 1/100,000 degree
        "Meshtastic", ("payload",), ("latitude_i",), ("longitude_i",), per_degree=1e7, only=("type", "position"),
        speed=("ground_speed",), heading=("ground_track",), heading_per_degree=1e5, altitude=("altitude",),
        time=("time", "timestamp"),
    ),
    Format(  # attributes beside these are free, so no unit of a speed can be relied on
        "Home Assistant", (), ("latitude",), ("longitude",), needs=("gps_accuracy",),
        heading=_HEADING, altitude=("altitude",), accuracy=("gps_accuracy",), time=_TIME,
    ),
    replace(
        ANY, name="The Things Stack, decoded payload", place=("uplink_message", "decoded_payload"),
        root_time=("received_at",),
    ),
    replace(ANY, name="ChirpStack, decoded object", place=("object",), root_time=("time",)),
    replace(_LOCATION, name="ChirpStack, location event", place=("location",), beside="deviceInfo"),
)  # fmt: skip
"""Asked in this order, before the configured pointers: the first row that fits decides, also that there is no fix."""

NETWORK_FORMATS: Final = (
    replace(_LOCATION, name="The Things Stack, last fix", place=("uplink_message", "locations", "frm-payload")),
    replace(_LOCATION, name="The Things Stack, registered place", place=("uplink_message", "locations", "user")),
)
"""What a LoRaWAN network knows of a device that did not itself say where it is: asked after the pointers."""
