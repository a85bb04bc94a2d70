"""TLS to the MQTT broker: it works with the right authority, and fails closed and clearly without."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bridge.core.addresses import MqttAddress
from bridge.ingest.mqtt import ConsumerOptions
from tests.environment import environment
from tests.functional.ingest.fake_mqtt import consuming, lines
from tests.mosquitto import Credentials, MosquittoServer, make_credentials
from tests.real.conftest import StartMosquitto
from tests.serving import StartServing
from tests.waiting import wait_until

# paho leaves the socket of a handshake that failed to the garbage collector (paho-mqtt 2.2 _ssl_wrap_socket).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def tls_options(server: MosquittoServer, ca_file: Path | None, host: str = "localhost") -> ConsumerOptions:
    """The user ``bridge`` on the TLS listener."""
    assert server.credentials is not None
    address = MqttAddress(host, server.tls_port, True, "bridge", server.credentials.passwords["bridge"])
    return ConsumerOptions(address, ("#",), "tls-test", ca_file=str(ca_file) if ca_file else None)


def certify(credentials: Credentials, folder: Path, *, days: int, name: str) -> Credentials:
    """A copy of ``credentials`` with another server certificate; negative ``days`` make one that has expired."""
    shutil.copytree(credentials.folder, folder)
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n")
    request = subprocess.run(
        ["openssl", "req", "-new", "-key", "server.key", "-subj", "/CN=MQTT broker"],
        cwd=folder, env=environment(), check=True, capture_output=True,
    ).stdout  # fmt: skip
    signed = ["openssl", "x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "77"]
    signed += ["-extfile", "extensions", "-out", "server.crt", "-days", str(days)]
    subprocess.run(signed, cwd=folder, env=environment(), check=True, capture_output=True, input=request)
    return Credentials(folder, credentials.passwords)


def refusal(given: ConsumerOptions, caplog: pytest.LogCaptureFixture) -> str:
    """The one line that is said; nothing may have been sent."""
    with consuming(given) as (consumer, collected):
        wait_until(lambda: lines(caplog))
        assert not consumer.statistics().connected
        assert collected.states == []
    (said,) = lines(caplog)
    assert "Traceback" not in caplog.text
    return said


def test_the_right_authority_is_trusted(start_mosquitto: StartMosquitto, credentials: Credentials) -> None:
    """Telemetry over ``mqtts://`` with a private authority."""
    server = start_mosquitto(credentials=credentials, tls=True)
    with consuming(tls_options(server, credentials.ca_file)) as (consumer, collected):
        wait_until(lambda: consumer.statistics().ready)
        server.publish("fleet/A", '{"data":{"DEVICE_ID":"A"}}', user="truck-1")
        collected.wait_for("A")


def test_many_messages_in_one_tls_record_are_all_read(
    start_mosquitto: StartMosquitto, credentials: Credentials
) -> None:
    """What the TLS layer holds is announced by no selector: it must be asked."""
    server = start_mosquitto(credentials=credentials, tls=True)
    batch = "\n".join(f'{{"data":{{"DEVICE_ID":"A","N":{number}}}}}' for number in range(3_000))
    with consuming(tls_options(server, credentials.ca_file)) as (consumer, collected):
        wait_until(lambda: consumer.statistics().ready)
        server.client("mosquitto_pub", "-t", "fleet/A", "-q", "1", "-l", user="truck-1", data=batch.encode())
        wait_until(lambda: len(collected.messages) == 3_000)


def test_an_unknown_authority_is_refused(
    start_mosquitto: StartMosquitto, credentials: Credentials, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the system's authorities nor another private one will do."""
    server = start_mosquitto(credentials=credentials, tls=True)
    other = make_credentials(tmp_path / "other", "bridge")
    for ca_file in (None, other.ca_file):
        caplog.clear()
        said = refusal(tls_options(server, ca_file), caplog)
        assert "its certificate is not trusted" in said
        assert "BRIDGE_MQTT_CA_FILE" in said


def test_an_expired_certificate_is_refused(
    start_mosquitto: StartMosquitto, credentials: Credentials, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The line says that it has expired."""
    server = start_mosquitto(credentials=certify(credentials, tmp_path / "old", days=-1, name="localhost"), tls=True)
    assert "certificate has expired" in refusal(tls_options(server, credentials.ca_file), caplog)


def test_a_certificate_of_another_host_is_refused(
    start_mosquitto: StartMosquitto, credentials: Credentials, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The line says which name was expected."""
    elsewhere = certify(credentials, tmp_path / "elsewhere", days=9, name="mqtt.example.com")
    server = start_mosquitto(credentials=elsewhere, tls=True)
    said = refusal(tls_options(server, credentials.ca_file), caplog)
    assert "Hostname mismatch" in said
    assert "localhost" in said


def test_a_plain_port_is_no_tls_port(
    start_mosquitto: StartMosquitto, credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    """``mqtts://`` never falls back to plain text, and asks the right question."""
    server = start_mosquitto(credentials=credentials)
    server.tls_port = server.port
    said = refusal(tls_options(server, credentials.ca_file), caplog)
    assert f"localhost:{server.port}" in said


@pytest.mark.parametrize("url", ["mqtt://bridge:{}@127.0.0.1:{}", "mqtts://bridge:{}@localhost:{}"])
def test_the_password_of_the_url_is_in_no_log(
    start_mosquitto: StartMosquitto, credentials: Credentials, start_serving: StartServing, url: str
) -> None:
    """Wrong or right, refused or connected, and with every detail logged."""
    server = start_mosquitto(credentials=credentials)
    right, wrong = credentials.passwords["bridge"], "wr0ng-pa55word"
    refused = start_serving(mqtt_url=url.format(wrong, server.port), log_level="DEBUG")
    refused.wait_for("is not available: ")
    good = start_serving(mqtt_url=server.url("bridge"), log_level="DEBUG")
    good.wait_ready()
    for serving in (refused, good):
        assert serving.end() == 0
        assert right not in serving.log()
        assert wrong not in serving.log()
        assert "Traceback" not in serving.log()
