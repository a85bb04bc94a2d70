"""``check``: would the service start, and would telemetry arrive? Each problem names the setting."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.functional.ingest.fake_mqtt import GRANTED, NOT_AUTHORIZED, FakeMqtt, Link
from tests.mosquitto import Credentials, MosquittoServer
from tests.ports import free_port
from tests.real.conftest import StartMosquitto
from tests.serving import KEY, StartServing, run

QUICK_SECONDS = 6.0
"""Below what ``check`` gives a silent MQTT broker: a refusal is reported when it comes."""
QUICK_TRIES = 5
"""One of which must be quick: on a busy machine the start of the process alone may take as long."""


def check(folder: Path, **variables: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    given = {"BRIDGE_ACCESS_KEYS": KEY, "BRIDGE_PORT": "0", **variables}
    done = run("check", folder=folder, **given)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_all_is_well(mosquitto: MosquittoServer, tmp_path: Path) -> None:
    """Exit status 0, and what was looked at; nothing on stderr."""
    mosquitto.publish("fleet/A", '{"data":{"DEVICE_ID":"A"}}', retain=True)
    status, out, err = check(tmp_path, BRIDGE_MQTT_URL=mosquitto.url())
    assert (status, err) == (0, "")
    assert "subscribed to #" in out
    assert "telemetry: arriving" in out


def test_quiet_devices_are_no_problem(mosquitto: MosquittoServer, tmp_path: Path) -> None:
    """Nothing arrives within the time that is waited: said, and still well."""
    status, out, _ = check(tmp_path, BRIDGE_MQTT_URL=mosquitto.url())
    assert status == 0
    assert "telemetry: none" in out


def test_the_client_id_of_the_service_is_not_taken_from_it(mosquitto: MosquittoServer, tmp_path: Path) -> None:
    """``check`` beside a running service must not throw it out of the MQTT broker."""
    mosquitto.client("mosquitto_pub", "-t", "x", "-m", "y")
    check(tmp_path, BRIDGE_MQTT_URL=mosquitto.url(), BRIDGE_MQTT_CLIENT_ID="the-service")
    assert "as the-service (" not in mosquitto.log()


@pytest.mark.parametrize("name", ["BRIDGE_PORT", "BRIDGE_ADMIN_PORT"])
def test_a_port_in_use_is_named(mosquitto: MosquittoServer, tmp_path: Path, name: str) -> None:
    """And the rest is looked at all the same."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = check(tmp_path, BRIDGE_MQTT_URL=mosquitto.url(), **{name: str(port)})
    assert status == 1
    assert err.startswith(f"{name}: ")
    assert "subscribed to" in out


@pytest.mark.parametrize("admin", [False, True])
def test_a_port_on_which_the_bridge_itself_listens_is_well(
    mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path, admin: bool
) -> None:
    """``check`` beside the running service: said, and no failure."""
    ports = {"admin_port": free_port()} if admin else {}
    serving = start_serving(mqtt_url=mosquitto.url(), **ports)
    given = {"BRIDGE_ADMIN_PORT": str(ports["admin_port"])} if admin else {}
    status, out, err = check(tmp_path, BRIDGE_MQTT_URL=mosquitto.url(), BRIDGE_PORT=str(serving.port), **given)
    assert (status, err) == (0, "")
    assert out.count("in use by a bridge with these settings") == 1 + admin


def test_tls_files_are_named(mosquitto: MosquittoServer, tmp_path: Path) -> None:
    """The certificate, not the port."""
    files = {"BRIDGE_TLS_CERT": "no-such.pem", "BRIDGE_TLS_KEY": "no-such.pem"}
    status, _, err = check(tmp_path, BRIDGE_MQTT_URL=mosquitto.url(), **files)
    assert status == 1
    assert err.startswith("BRIDGE_TLS_CERT: ")


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    """As ``serve`` does: exit status 2."""
    status, _, err = check(tmp_path, BRIDGE_ACCESS_KEYS="k4.local.short")
    assert status == 2
    assert "BRIDGE_ACCESS_KEYS" in err


def test_nobody_at_the_address_is_told_at_once(tmp_path: Path) -> None:
    """Connection refused is an answer: no need to wait."""
    port = free_port()

    def takes() -> float:
        began = time.monotonic()
        status, _, err = check(tmp_path, BRIDGE_MQTT_URL=f"mqtt://u:s3cr3t@127.0.0.1:{port}")
        assert status == 1
        assert f"BRIDGE_MQTT_URL: MQTT broker 127.0.0.1:{port}: Connection refused" in err
        assert len(err.splitlines()) == 1
        assert "s3cr3t" not in err
        return time.monotonic() - began

    assert any(takes() < QUICK_SECONDS for _ in range(QUICK_TRIES))


def test_a_wrong_password_is_told(start_mosquitto: StartMosquitto, credentials: Credentials, tmp_path: Path) -> None:
    """And not repeated."""
    server = start_mosquitto(credentials=credentials)
    status, _, err = check(tmp_path, BRIDGE_MQTT_URL=f"mqtt://bridge:wr0ng@127.0.0.1:{server.port}")
    assert status == 1
    assert "BRIDGE_MQTT_URL" in err
    assert "refused the connection" in err
    assert "wr0ng" not in err


def test_a_refused_filter_names_the_topics(tmp_path: Path) -> None:
    """Mosquitto grants every subscription and then delivers nothing; others say no."""

    def script(link: Link) -> None:
        link.connack()
        link.suback(GRANTED, NOT_AUTHORIZED)
        link.hold()

    with FakeMqtt(script) as broker:
        topics = {"BRIDGE_MQTT_TOPICS": "open/#,closed/#"}
        status, _, err = check(tmp_path, BRIDGE_MQTT_URL=f"mqtt://127.0.0.1:{broker.port}", **topics)
    assert status == 1
    assert "BRIDGE_MQTT_TOPICS: " in err
    assert "closed/#" in err


def test_messages_without_a_device_id_name_the_pointers(mosquitto: MosquittoServer, tmp_path: Path) -> None:
    """Telemetry arrives and none of it can be read: the most likely mistake of a first set-up."""
    mosquitto.publish("fleet/A", '{"id":"A","lat":1}', retain=True)
    status, _, err = check(tmp_path, BRIDGE_MQTT_URL=mosquitto.url())
    assert status == 1
    assert "BRIDGE_DEVICE_ID_POINTERS" in err
    assert "no_device_id" in err


def test_an_untrusted_certificate_is_told(
    start_mosquitto: StartMosquitto, credentials: Credentials, tmp_path: Path
) -> None:
    """With the setting that mends it; and a missing file is named too."""
    server = start_mosquitto(credentials=credentials, tls=True)
    status, _, err = check(tmp_path, BRIDGE_MQTT_URL=server.tls_url("bridge"))
    assert status == 1
    assert "BRIDGE_MQTT_CA_FILE" in err
    url = {"BRIDGE_MQTT_URL": server.tls_url("bridge")}
    assert check(tmp_path, **url, BRIDGE_MQTT_CA_FILE=str(credentials.ca_file))[0] == 0
    status, _, err = check(tmp_path, **url, BRIDGE_MQTT_CA_FILE="no-such.pem")
    assert status == 2
    assert "BRIDGE_MQTT_CA_FILE" in err
