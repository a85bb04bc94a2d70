"""The main job: what devices publish over MQTT arrives at a stranger's WebSocket client, byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection

from tests.environment import environment
from tests.mosquitto import Credentials, MosquittoServer
from tests.real.conftest import StartMosquitto
from tests.serving import Serving, StartServing, make_token
from tests.waiting import wait_until

SECONDS = 60.0
ENVELOPE = (
    '{"timestamp":"2024-12-11T10:30:00Z","data":{"DEVICE_ID":"0848086072","LAT":-33.4567,"LON":-70.6789,"SPEED":45}}'
)
FORMATS: dict[str, tuple[str, str, str]] = {
    "DEVICE_ID envelope": ("position", ENVELOPE, "0848086072"),
    "DEVICE_ID envelope with odd spaces, numbers and text": (
        "position",
        '{ "data" : {"DEVICE_ID":"zürich-7", "LAT": 4.7370e1, "LON": 8.540, "NOTE":"caf\\u00e9 ☕ <b>&amp;</b>"} }\n',
        "zürich-7",
    ),
    "Traccar": (
        "positions",
        (
            '{"position":{"id":1,"deviceId":7,"protocol":"osmand","serverTime":"2023-11-13T13:30:15.000+00:00",'
            '"fixTime":"2023-11-13T13:30:14.000+00:00","valid":true,"latitude":52.52,"longitude":13.4,"altitude":34.0,'
            '"speed":0.1613889,"course":90.0,"accuracy":5.0,"attributes":{"ignition":true}},'
            '"device":{"id":7,"name":"Van","uniqueId":"356307042441013","status":"online"}}'
        ),
        "356307042441013",
    ),
    "The Things Stack v3": (
        "v3/app@tenant/devices/dev1/up",
        (
            '{"end_device_ids":{"device_id":"dev1","dev_eui":"0004A30B001C0530"},"received_at":"2024-01-02T03:04:05.678Z",'
            '"uplink_message":{"f_port":1,"decoded_payload":{"battery":3.6},"locations":{"user":'
            '{"latitude":37.97155556731436,"longitude":23.72678801175413,"altitude":2,"source":"SOURCE_REGISTRY"}}}}'
        ),
        "dev1",
    ),
    "flespi": (
        "flespi/message/gw/devices/1",
        (
            '{"ident":"352093081234567","timestamp":1790580000,"position.latitude":11.66,"position.longitude":78.15,'
            '"position.speed":48,"position.valid":true,"engine.ignition.status":true}'
        ),
        "352093081234567",
    ),
    "Digitraffic marine": (
        "vessels-v2/230123456/location",
        '{"time":1700000000,"lat":60.1,"lon":24.9,"sog":102.2,"cog":360,"heading":511,"navStat":5}',
        "230123456",
    ),
}
"""Topic below the device's own, payload, and the device id that is found."""


@pytest.fixture
def shipped(start_mosquitto: StartMosquitto, credentials: Credentials) -> MosquittoServer:
    """The shipped configuration: passwords, access list, TLS."""
    return start_mosquitto(credentials=credentials, shipped=True)


@pytest.fixture
def serving(shipped: MosquittoServer, start_serving: StartServing) -> Iterator[Serving]:
    """A server that reads the shipped Mosquitto over TLS as its user ``bridge``."""
    assert shipped.credentials is not None
    served = start_serving(
        mqtt_url=shipped.tls_url("bridge"),
        mqtt_ca_file=shipped.credentials.ca_file,
        mqtt_topics="fleet/#",
        device_id_topic="fleet/truck-1/vessels-v2/{device_id}/location",
    )
    served.wait_ready()
    yield served
    assert served.end() == 0
    assert "Traceback" not in served.log()


def publish(server: MosquittoServer, topic: str, payload: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """As device ``truck-1``, over TLS, with mosquitto_pub."""
    assert server.credentials is not None
    authority = ("--cafile", str(server.credentials.ca_file))
    return server.client(
        "mosquitto_pub", *authority, "-t", topic, "-s", *options, user="truck-1", tls=True, data=payload.encode()
    )


def url(serving: Serving, device_id: str) -> str:
    """The stream of one device, token and all."""
    return f"ws://127.0.0.1:{serving.port}/api/v1/stream?device_ids={quote(device_id)}&token={make_token()}"


def following(serving: Serving, device_id: str) -> ClientConnection:
    """A client of this stream."""
    return connect(url(serving, device_id), open_timeout=SECONDS)


def next_frame(client: Connection) -> bytes:
    """The next frame. What says that the MQTT broker is there is passed over: it may come after ``/readyz`` said so."""
    while b'"event":"upstream"' in (frame := client.recv(SECONDS, decode=False)):
        pass
    return frame


def next_event(client: Connection) -> Any:
    """The same as an event."""
    return json.loads(next_frame(client))


def test_every_known_format_arrives_byte_for_byte(shipped: MosquittoServer, serving: Serving) -> None:
    """Each by its device id; ``data`` in the frame is what the device wrote, down to its spaces."""
    for name, (topic, payload, device_id) in FORMATS.items():
        with following(serving, device_id) as client:
            assert [next_event(client)["event"] for _ in range(2)] == ["hello", "subscribed"]
            assert publish(shipped, f"fleet/truck-1/{topic}", payload, "-q", "1").returncode == 0
            frame = next_frame(client)
            head, found, tail = frame.partition(payload.encode())
            assert found, (name, frame)
            assert head.endswith(b'"data":')
            assert tail == b"}"
            event = json.loads(frame)
            assert (event["event"], event["device_id"]) == ("message", device_id)
            assert event["data"] == json.loads(payload)


def test_a_retained_message_is_a_replay(shipped: MosquittoServer, serving: Serving) -> None:
    """A client that comes later sees the last known message, marked as such, before the live one."""
    live = ENVELOPE.replace("45", "46")
    publish(shipped, "fleet/truck-1/position", ENVELOPE, "-r", "-q", "1")
    wait_until(lambda: serving.stats()["total_messages_processed"] == 1)
    with following(serving, "0848086072") as client:
        assert [next_event(client)["event"] for _ in range(2)] == ["hello", "subscribed"]
        known = next_event(client)
        assert known["replay"] is True
        assert known["data"] == json.loads(ENVELOPE)
        publish(shipped, "fleet/truck-1/position", live, "-q", "1")
        event = next_event(client)
        assert "replay" not in event
        assert event["data"] == json.loads(live)


def test_what_is_not_delivered_is_counted_by_its_cause(shipped: MosquittoServer, serving: Serving) -> None:
    """Each message is either delivered or stands under one cause in the stats, which stay readable."""
    bad = {"invalid_json": b"no JSON", "no_device_id": b"{}", "bad_device_id": b'{"data":{"DEVICE_ID":"a/b"}}'}
    for payload in bad.values():
        assert publish(shipped, "fleet/truck-1/x", payload.decode(), "-q", "1").returncode == 0
    wait_until(lambda: serving.stats()["mqtt"]["received"] == len(bad))
    assert serving.stats()["mqtt"]["refused"] == dict.fromkeys(bad, 1)
    assert serving.stats()["total_messages_processed"] == 0


def test_a_device_cannot_speak_on_the_topic_of_another(shipped: MosquittoServer, serving: Serving) -> None:
    """The access list drops it; the bridge never sees it."""
    with following(serving, "*") as client:
        assert [next_event(client)["event"] for _ in range(2)] == ["hello", "subscribed"]
        publish(shipped, "fleet/truck-2/position", ENVELOPE, "-q", "1")
        publish(shipped, "fleet/truck-1/position", ENVELOPE.replace("0848086072", "honest"), "-q", "1")
        assert next_event(client)["device_id"] == "honest"


def test_the_command_line_client_of_websockets_shows_it(
    shipped: MosquittoServer, serving: Serving, tmp_path: Path
) -> None:
    """``python -m websockets ws://…?token=…``: nothing of ours on the client's side."""
    with subprocess.Popen(
        [sys.executable, "-m", "websockets", url(serving, "0848086072")],
        cwd=tmp_path, env=environment(PYTHONUNBUFFERED="1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as client:  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            wait_until(lambda: serving.stats()["active_subscribers"] == 1)
            publish(shipped, "fleet/truck-1/position", ENVELOPE, "-q", "1")
            wait_until(lambda: serving.stats()["broker"]["delivered"] == 1)
            client.stdin.write(b'{"action":"ping","ref":"from-stdin"}\n')
            client.stdin.flush()
            seen = b""
            while b"from-stdin" not in seen.partition(b'"pong"')[2]:
                line = client.stdout.readline()
                assert line, seen
                seen += line
            assert ENVELOPE.encode() in seen
        finally:
            client.stdin.close()
            client.wait(SECONDS)


def test_plain_mqtt_without_a_password_is_no_way_in(shipped: MosquittoServer, start_serving: StartServing) -> None:
    """A server with the default MQTT URL against the shipped configuration: unready, and told why."""
    serving = start_serving(mqtt_url=shipped.url())
    serving.wait_for("refused the connection")
    status, answer = serving.get("/readyz")
    assert status == 503
    assert "refused the connection" in answer["problems"][0]
