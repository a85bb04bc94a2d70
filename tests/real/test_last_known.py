"""What is known of a device's place: which messages are its position, and which never take the place of the last fix.

Payloads are those of devices, forwarders and networks in the field, with the time of the fix put in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.mosquitto import MosquittoServer
from tests.real.test_main_job import next_event
from tests.serving import Serving, StartServing, make_token
from tests.waiting import wait_until

SECONDS = 60.0
STORED = 3600
Maker = Callable[[float, float], Any]
"""Latitude and time of the fix (Unix seconds) → the message."""


def iso(at: float) -> str:
    """As most senders write it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def traccar(lat: float, at: float, *, lon: float = 79.6410078, valid: bool = True) -> Any:
    """Of Traccar's position forwarder."""
    when = iso(at).replace("Z", "+00:00")
    return {
        "position": {
            "id": 0, "deviceId": 1, "type": None, "protocol": "osmand", "serverTime": when, "deviceTime": when,
            "fixTime": when, "outdated": False, "valid": valid, "latitude": lat, "longitude": lon,
            "altitude": 0.0, "speed": 19.4384449, "course": 90.0, "address": None, "accuracy": 22.0, "network": None,
            "attributes": {"batteryLevel": 53.0, "motion": True},
        },
        "device": {"id": 1, "name": "Van", "uniqueId": "A", "status": "online", "disabled": False},
    }  # fmt: skip


POSITIONS: dict[str, Maker] = {
    "HSL": lambda lat, at: {
        "VP": {
            "desi": "4", "dir": "2", "oper": 40, "veh": 648, "tst": iso(at), "tsi": int(at), "spd": 4.2, "hdg": 36,
            "lat": lat, "long": 24.962017, "acc": 0.2, "dl": -111, "odo": 3011, "drst": 0, "oday": "2026-09-29",
            "jrn": 3584, "line": 32, "start": "07:40", "loc": "GPS", "stop": None, "route": "1004 4", "occu": 0,
        }
    },
    "Meshtastic": lambda lat, at: {
        "channel": 0, "from": 4038675309, "id": 1576523473, "sender": "!9e75c710", "timestamp": int(at) + 9,
        "to": 4294967295, "type": "position",
        "payload": {
            "latitude_i": round(lat * 1e7), "longitude_i": -79255229, "altitude": 113, "precision_bits": 32,
            "time": at, "ground_speed": 5, "ground_track": 18012000, "sats_in_view": 7,
        },
    },
    "The Things Stack": lambda lat, at: {
        "end_device_ids": {"device_id": "A", "dev_eui": "A8404194A1875FF3"}, "received_at": iso(at),
        "uplink_message": {
            "f_port": 2, "f_cnt": 113, "frm_payload": "DTgAAAAAC8MAABA=",
            "decoded_payload": {"latitude": str(lat), "longitude": "-0.97321", "temperture": "21.5"},
            "rx_metadata": [{"gateway_ids": {"gateway_id": "gw1"}, "location": {"latitude": 1.5, "longitude": 2.5}}],
        },
    },
    "ChirpStack": lambda lat, at: {
        "time": iso(at), "deviceInfo": {"devEui": "A"}, "fPort": 2, "data": "qg==",
        "rxInfo": [{"gatewayId": "0016c001f153a14c", "location": {"latitude": 1.5, "longitude": 2.5}}],
        "object": {"latitude": lat, "longitude": 4.5, "altitude": 10, "battery": 80},
    },
    "Traccar": traccar,
    "OwnTracks": lambda lat, at: {
        "_type": "location", "acc": 12, "alt": 1493, "batt": 55, "lat": lat, "lon": 11.654321, "tid": "AN",
        "tst": at, "vac": 24, "vel": 36, "cog": 270,
    },
}  # fmt: skip
NO_POSITIONS: dict[str, Maker] = {
    "Traccar, not valid": lambda lat, at: traccar(lat, at, valid=False),
    "Traccar, (0, 0)": lambda _lat, at: traccar(0.0, at, lon=0.0),
    "Traccar's event forwarder": lambda lat, at: {
        "event": {"id": 5, "attributes": {"alarm": "sos"}, "deviceId": 1, "type": "alarm", "positionId": 9},
        **traccar(lat, at),
    },
    "OwnTracks transition": lambda lat, at: {
        "_type": "transition", "lat": lat, "lon": 11.6, "acc": 12, "event": "enter", "desc": "Home", "t": "c",
        "tst": at, "wtst": at - 1000,
    },
    "OwnTracks waypoint": lambda lat, at: {
        "_type": "waypoint", "desc": "Summer cabin", "lat": lat, "lon": 25.1, "rad": 100, "tst": at,
    },
    "HSL, door opened": lambda lat, at: {"DOO": POSITIONS["HSL"](lat, at)["VP"]},
    "null island": lambda _lat, at: {"lat": -0.0, "lon": 0.0, "time": at},
    "out of range": lambda _lat, at: {"lat": 91.0, "lon": 181.0, "time": at},
}  # fmt: skip


@pytest.fixture
def serving(mosquitto: MosquittoServer, start_serving: StartServing) -> Serving:
    """A server that knows devices by their topic."""
    served = start_serving(mqtt_url=mosquitto.url(), mqtt_topics="fleet/#", device_id_topic="fleet/{device_id}/#")
    served.wait_ready()
    return served


def publish(mosquitto: MosquittoServer, serving: Serving, *documents: Any, device_id: str = "A") -> None:
    """All of them in order, and wait until they were taken."""
    before = serving.stats()["total_messages_processed"]
    lines = "\n".join(map(json.dumps, documents)).encode()
    done = mosquitto.client("mosquitto_pub", "-t", f"fleet/{device_id}/x", "-q", "1", "-l", data=lines)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: serving.stats()["total_messages_processed"] == before + len(documents))


def known(serving: Serving, device_id: str = "A") -> list[Any]:
    """What one who comes now is shown of a device."""
    token = make_token()
    address = f"ws://127.0.0.1:{serving.port}/api/v1/stream?device_ids={device_id}&token={token}"
    with connect(address, open_timeout=SECONDS) as client:
        client.send('{"action":"ping","ref":"end"}')
        shown = []
        while (event := next_event(client))["event"] != "pong":
            if event["event"] == "message":
                assert event["replay"] is True
                shown.append(event["data"])
        return shown


def test_which_messages_are_positions(mosquitto: MosquittoServer, serving: Serving) -> None:
    """Of every format: other messages stand beside a position and never take its place, the next position does."""
    now, battery = time.time() - 1000, {"battery": 3.6}
    for make in POSITIONS.values():
        first, second = make(1.5, now - 100), make(2.5, now - 50)
        publish(mosquitto, serving, first, battery)
        assert known(serving) == [first, battery]
        publish(mosquitto, serving, second)
        assert known(serving) == [battery, second]
        now += 60.0


def test_what_is_no_position_never_takes_the_place_of_the_last_fix(
    mosquitto: MosquittoServer, serving: Serving
) -> None:
    """It is delivered and known like any other message, beside where the device is."""
    now = time.time()
    fix = traccar(1.5, now - 100)
    publish(mosquitto, serving, fix)
    for make in NO_POSITIONS.values():
        other = make(9.5, now)
        publish(mosquitto, serving, other)
        assert known(serving) == [fix, other]


def test_stored_fixes_between_live_ones_do_not_turn_the_last_known_back(
    mosquitto: MosquittoServer, serving: Serving
) -> None:
    """A device that comes back from an hour without a network sends all of it, and where it is now among them."""
    now, make = time.time(), POSITIONS["OwnTracks"]
    began = now - STORED - 60
    stored = [make(1.0, began + second) for second in range(STORED)]
    live = [make(2.0 + number, now + number / 100) for number in range(4)]
    publish(mosquitto, serving, live[0], *stored[:1200], live[1], *stored[1200:2400], live[2], *stored[2400:])
    assert known(serving) == [live[2]]
    publish(mosquitto, serving, live[3])
    assert known(serving) == [live[3]]
