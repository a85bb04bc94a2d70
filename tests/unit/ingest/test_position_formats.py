"""Every format that is known out of the box, by a sample of its maker or users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bridge.core.telemetry import Kind, Position
from tests.telemetry import POINTERS, decoded

ENVELOPE: dict[str, Any] = {
    "timestamp": "2024-12-11T10:30:00Z",
    "data": {"DEVICE_ID": "0848086072", "LAT": -33.4567, "LON": -70.6789, "SPEED": 45},
}
OWNTRACKS: dict[str, Any] = {
    "cog": 271, "batt": 41, "lon": 2.29513, "acc": 5, "vel": 61, "vac": 21, "lat": 48.85833, "t": "u",
    "tst": 1497508651, "alt": 167, "_type": "location", "topic": "owntracks/jane/iphone", "p": 71, "tid": "JJ",
}  # fmt: skip
TRACCAR: dict[str, Any] = {
    "position": {
        "id": 1, "deviceId": 7, "protocol": "osmand", "serverTime": "2023-11-13T13:30:16.000+00:00",
        "deviceTime": "2023-11-13T13:30:14.000+00:00", "fixTime": "2023-11-13T14:30:15.000+01:00", "valid": True,
        "latitude": 47.5, "longitude": 8.25, "altitude": 410.0, "speed": 10, "course": 90.5, "accuracy": 0.0,
        "attributes": {"batteryLevel": 80, "ignition": True, "motion": False, "totalDistance": 12.5},
    },
    "device": {"id": 7, "name": "van", "uniqueId": "356307042441013", "status": "online"},
}  # fmt: skip
HSL: dict[str, Any] = {
    "VP": {
        "desi": "159", "dir": "2", "oper": 6, "veh": 423, "tst": "2021-05-15T06:40:28.629Z", "tsi": 1621060828,
        "spd": 21.71, "hdg": 67, "lat": 60.156949, "long": 24.687111, "acc": 0.4, "dl": -21, "odo": None,
        "drst": None, "oday": "2021-05-15", "jrn": 202, "line": 1062, "start": "09:32", "loc": "GPS", "stop": None,
        "route": "2159", "occu": 0,
    }
}  # fmt: skip
TTS: dict[str, Any] = {
    "end_device_ids": {"device_id": "dev1", "dev_eui": "0004A30B001C0530"},
    "received_at": "2020-02-12T15:15:45.787654321Z",
    "uplink_message": {
        "f_port": 1,
        "decoded_payload": {"temperature": 1.0},
        "rx_metadata": [{"location": {"latitude": 1, "longitude": 2}}],
        "locations": {
            "user": {"latitude": 37.97155556731436, "longitude": 23.72678801175413, "altitude": 2,
                     "source": "SOURCE_REGISTRY"},
        },
    },
}  # fmt: skip
CHIRPSTACK: dict[str, Any] = {
    "time": "2022-07-18T09:34:15.775023242+00:00",
    "deviceInfo": {"devEui": "0101010101010101"},
    "location": {"latitude": 37.344214, "longitude": -8.839375, "altitude": 2},
}
FLESPI: dict[str, Any] = {
    "ident": "352093081234567", "timestamp": 1790580000, "position.latitude": 11.66, "position.longitude": 78.15,
    "position.speed": 48, "position.valid": True, "engine.ignition.status": True,
}  # fmt: skip
MESHTASTIC: dict[str, Any] = {
    "channel": 0, "from": 4038675309, "id": 1576523473,
    "payload": {
        "latitude_i": 352052802, "longitude_i": -79255229, "altitude": 113, "precision_bits": 32, "time": 1700000000,
        "ground_speed": 5, "ground_track": 18012000, "sats_in_view": 7,
    },
    "sender": "!9e75c710", "timestamp": 1700000009, "to": 4294967295, "type": "position",
}  # fmt: skip
HOME_ASSISTANT: dict[str, Any] = {"latitude": 32.87336, "longitude": -117.22743, "gps_accuracy": 1.2}
DIGITRAFFIC: dict[str, Any] = {
    "time": 1700000000, "lat": 60.1, "lon": 24.9, "sog": 102.2, "cog": 360, "heading": 511, "navStat": 5
}  # fmt: skip
SAMPLES = [
    pytest.param(ENVELOPE, Position(-33.4567, -70.6789, 45.0, time=1733913000.0), id="envelope"),
    pytest.param(OWNTRACKS, Position(48.85833, 2.29513, 61.0, 271.0, 167.0, 5.0, 1497508651.0), id="owntracks"),
    pytest.param(TRACCAR, Position(47.5, 8.25, 18.52, 90.5, 410.0, None, 1699882215.0), id="traccar"),
    pytest.param(
        HSL, Position(60.156949, 24.687111, 78.156, 67.0, None, None, 1621060828.629), id="hsl"
    ),
    pytest.param(
        TTS, Position(37.97155556731436, 23.72678801175413, altitude_m=2.0, time=1581520545.787654), id="tts"
    ),
    pytest.param(
        CHIRPSTACK, Position(37.344214, -8.839375, altitude_m=2.0, time=1658136855.775023), id="chirpstack"
    ),
    pytest.param(FLESPI, Position(11.66, 78.15, 48.0, time=1790580000.0), id="flespi"),
    pytest.param(MESHTASTIC, Position(35.2052802, -7.9255229, 5.0, 180.12, 113.0, None, 1700000000.0), id="meshtastic"),
    pytest.param(HOME_ASSISTANT, Position(32.87336, -117.22743, accuracy_m=1.2), id="home-assistant"),
    pytest.param(DIGITRAFFIC, Position(60.1, 24.9, time=1700000000.0), id="digitraffic"),
]  # fmt: skip


def read(document: object, pointers: Sequence[str] = POINTERS) -> Position | None:
    """The position of a message, as it would be published."""
    return decoded(document, pointers=pointers).position


def changed(document: dict[str, Any], key: str, **changes: object) -> dict[str, Any]:
    """``document`` with changes in the object under ``key``, or in itself where that is empty."""
    return {**document, key: {**document[key], **changes}} if key else {**document, **changes}


@pytest.mark.parametrize("document, expected", SAMPLES)
def test_sample_is_read_in_full(document: dict[str, Any], expected: Position) -> None:
    """Units, field names and times of each format, and nothing that the format does not say."""
    assert read(document) == expected


@pytest.mark.parametrize("document, expected", SAMPLES)
def test_known_format_needs_no_pointer(document: dict[str, Any], expected: Position) -> None:
    """The shape is enough, whatever the setting says."""
    assert read(document, ()) == expected


@pytest.mark.parametrize("document, expected", SAMPLES)
def test_sample_is_a_position_unless_a_network_says_so(document: dict[str, Any], expected: Position) -> None:
    """What a LoRaWAN network knows of a device does not make its messages positions: each of them counts."""
    message = decoded(document)
    place = (expected.lat, expected.lon, expected.time)
    if document in (TTS, CHIRPSTACK):
        assert (message.kind, message.fix, message.fallback) == (Kind.EVENT, None, place)
    else:
        assert (message.kind, message.fix, message.fallback) == (Kind.POSITION, place, None)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"event": {"type": "alarm"}, **TRACCAR}, id="traccar-event"),
        pytest.param(changed(TRACCAR, "position", latitude=0.0, longitude=0.0), id="traccar-null-island"),
        pytest.param(changed(TRACCAR, "position", valid=False), id="traccar-not-valid"),
        pytest.param(changed(FLESPI, "", **{"position.valid": False}), id="flespi-not-valid"),
        pytest.param(changed(OWNTRACKS, "", _type="transition"), id="owntracks-transition"),
        pytest.param(changed(OWNTRACKS, "", _type="waypoint"), id="owntracks-waypoint"),
        pytest.param({"_type": "lwt", "tst": 1497508651}, id="owntracks-lwt"),
        pytest.param(changed(MESHTASTIC, "", type="waypoint"), id="meshtastic-waypoint"),
        pytest.param(changed(HSL, "VP", lat=None, long=None), id="hsl-no-fix"),
        pytest.param(changed(ENVELOPE, "data", LAT=None), id="envelope-null"),
        pytest.param(changed(DIGITRAFFIC, "", lat=91, lon=181), id="ais-not-available"),
        pytest.param(changed(CHIRPSTACK, "location", latitude=0, longitude=0), id="chirpstack-empty"),
        pytest.param({"DS18B20": {"Temperature": 20.6}, "Time": "2017-02-16T10:13:52"}, id="tasmota"),
        pytest.param({"temperature": 27.34, "humidity": 44.72}, id="zigbee2mqtt"),
    ],
)
def test_message_without_a_fix_has_no_position(document: dict[str, Any]) -> None:
    """Whether the sender says so, or means something other than where the device is; it is delivered all the same."""
    message = decoded(document)
    assert (message.kind, message.fix, message.position) == (Kind.EVENT, None, None)


def test_owntracks_may_write_numbers_as_text() -> None:
    """As the Greenwich devices do."""
    document = changed(OWNTRACKS, "", vel="46.5315", tst="1408810440", lat="48.5", lon=" 2.25 ", alt="1_0")
    assert read(document) == Position(48.5, 2.25, 46.5315, 271.0, None, 5.0, 1408810440.0)


@pytest.mark.parametrize("name", ["DOO", "DOC", "ARS", "PDE", "TLR", "VJOUT"])
def test_hsl_event_is_no_position_of_its_vehicle(name: str) -> None:
    """Only VP says where a vehicle is; doors, stops, signals and sign-offs are events that have a place."""
    assert decoded(HSL).kind is Kind.POSITION
    assert (decoded({name: HSL["VP"]}).kind, read({name: HSL["VP"]})) == (Kind.EVENT, None)


def test_hsl_without_its_text_time_has_its_number() -> None:
    """``tsi`` says the same to the second."""
    position = read(changed(HSL, "VP", tst=None))
    assert position is not None and position.time == 1621060828.0


def test_ship_at_sea_has_a_course() -> None:
    """Knots; the course over ground counts, the compass where there is none; 360 as a compass heading is north."""
    assert read(changed(DIGITRAFFIC, "", sog=10.0, cog=12.5, heading=20)) == Position(
        60.1, 24.9, 18.52, 12.5, time=1700000000.0
    )
    position = read(changed(DIGITRAFFIC, "", heading=20))
    assert position is not None and position.heading_deg == 20.0


def tts(**uplink: object) -> dict[str, Any]:
    """An uplink of The Things Stack."""
    return changed(TTS, "uplink_message", **uplink)


def test_lorawan_device_that_says_where_it_is_is_believed_before_its_network() -> None:
    """Also when it says that it does not know: the registered place would make it jump home."""
    assert read(tts(decoded_payload={"lat": 1.5, "lng": "2.5", "speed": 7})) == Position(
        1.5, 2.5, 7.0, time=1581520545.787654
    )
    assert read(tts(decoded_payload={"latitude": 0, "longitude": 0})) is None


def test_last_fix_counts_before_the_registered_place() -> None:
    """The Things Stack keeps what it found in the payload under ``frm-payload``."""
    fix = {"latitude": 52.5, "longitude": 6.5, "accuracy": 64, "source": "SOURCE_GPS"}
    locations = {**TTS["uplink_message"]["locations"], "frm-payload": fix}
    assert read(tts(locations=locations)) == Position(52.5, 6.5, accuracy_m=64.0, time=1581520545.787654)


def test_pointer_reaches_into_a_payload_formatters_own_shape() -> None:
    """It counts before what the network knows."""
    document = tts(decoded_payload={"gps": {"lat": 1.5, "lon": 2.5}})
    assert read(document, ("/uplink_message/decoded_payload/gps/lat",)) == Position(1.5, 2.5)
    assert read(document) == read(TTS)


def test_chirpstack_uplink_is_read_from_its_decoded_object() -> None:
    """Not from where the gateways are."""
    document = {
        "time": "2022-07-18T09:34:15Z",
        "deviceInfo": {"devEui": "0101010101010101"},
        "rxInfo": [{"location": {"latitude": 1, "longitude": 2}}],
        "object": {"latitude": 3.5, "longitude": 4.5, "altitude": 10, "battery": 80},
    }
    assert read(document) == Position(3.5, 4.5, altitude_m=10.0, time=1658136855.0)
    assert read({**document, "object": {"battery": 80}}) is None


def test_speed_of_an_attribute_without_a_unit_is_not_known() -> None:
    """Home Assistant's attributes are free."""
    document = {**HOME_ASSISTANT, "speed": 12, "course": 90}
    assert read(document) == Position(32.87336, -117.22743, heading_deg=90.0, accuracy_m=1.2)


def test_position_object_of_another_sender_is_not_in_knots() -> None:
    """The forwarder always says ``fixTime``; without it the usual names and units count."""
    document = {"position": {"latitude": 1, "longitude": 2, "speed": 10}, "timestamp": 1733913000}
    assert read(document) == Position(1.0, 2.0, 10.0, time=1733913000.0)
