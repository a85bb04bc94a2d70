"""``serve`` with settings that are wrong: the error names it, and nothing else happens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.serving import KEY, Serving, run

SECRET = "s3cr3t-pa55"
GOOD = {"BRIDGE_ACCESS_KEYS": KEY, "BRIDGE_PORT": "0"}

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no key": ({"BRIDGE_ACCESS_KEYS": ""}, "BRIDGE_ACCESS_KEYS"),
    "a key that is cut": ({"BRIDGE_ACCESS_KEYS": f"k4.local.{SECRET}"}, "BRIDGE_ACCESS_KEYS"),
    "a key of another version": ({"BRIDGE_ACCESS_KEYS": KEY.replace("k4.", "k3.")}, "BRIDGE_ACCESS_KEYS"),
    "port is no number": ({"BRIDGE_PORT": "http"}, "BRIDGE_PORT"),
    "port too large": ({"BRIDGE_PORT": "70000"}, "BRIDGE_PORT"),
    "misspelt": ({"BRIDGE_PROT": "8000"}, "BRIDGE_PROT"),
    "MQTT over HTTP": ({"BRIDGE_MQTT_URL": f"http://u:{SECRET}@h"}, "BRIDGE_MQTT_URL"),
    "MQTT port too large": ({"BRIDGE_MQTT_URL": f"mqtt://u:{SECRET}@h:99999"}, "BRIDGE_MQTT_URL"),
    "MQTT without host": ({"BRIDGE_MQTT_URL": "mqtt://"}, "BRIDGE_MQTT_URL"),
    "topics overlap": ({"BRIDGE_MQTT_TOPICS": "fleet/#,fleet/+/position"}, "BRIDGE_MQTT_TOPICS"),
    "no topic filter": ({"BRIDGE_MQTT_TOPICS": "fleet/a#"}, "BRIDGE_MQTT_TOPICS"),
    "QoS 2": ({"BRIDGE_MQTT_QOS": "2"}, "BRIDGE_MQTT_QOS"),
    "MQTT 3.1": ({"BRIDGE_MQTT_VERSION": "3.1"}, "BRIDGE_MQTT_VERSION"),
    "MQTT authority is missing": (
        {"BRIDGE_MQTT_URL": "mqtts://localhost", "BRIDGE_MQTT_CA_FILE": "no-such.pem"},
        "BRIDGE_MQTT_CA_FILE",
    ),
    "MQTT authority is no certificate": (
        {"BRIDGE_MQTT_URL": "mqtts://localhost", "BRIDGE_MQTT_CA_FILE": "/dev/null"},
        "BRIDGE_MQTT_CA_FILE",
    ),
    "off for everyone": ({"BRIDGE_AUTH": "off", "BRIDGE_HOST": "0.0.0.0"}, "BRIDGE_AUTH"),
    "any origin": ({"BRIDGE_ALLOWED_ORIGINS": "*"}, "BRIDGE_ALLOWED_ORIGINS"),
    "certificate without key": ({"BRIDGE_TLS_CERT": "cert.pem"}, "BRIDGE_TLS_CERT"),
    "groups are missing": ({"BRIDGE_GROUPS_FILE": "no-such.toml"}, "BRIDGE_GROUPS_FILE"),
    "no network": ({"BRIDGE_TRUSTED_PROXIES": "proxy.example.com"}, "BRIDGE_TRUSTED_PROXIES"),
    "log level": ({"BRIDGE_LOG_LEVEL": "LOUD"}, "BRIDGE_LOG_LEVEL"),
    "queue too small": ({"BRIDGE_QUEUE_BYTES": "1"}, "BRIDGE_QUEUE_BYTES"),
    "heartbeat is not a number": ({"BRIDGE_HEARTBEAT_SECONDS": "nan"}, "BRIDGE_HEARTBEAT_SECONDS"),
    "topic without the id": ({"BRIDGE_DEVICE_ID_TOPIC": "fleet/x"}, "BRIDGE_DEVICE_ID_TOPIC: "),
    "no pointer to a position": ({"BRIDGE_POSITION_POINTERS": "lat"}, "BRIDGE_POSITION_POINTERS: "),
    "no host": ({"BRIDGE_HOST": ""}, "BRIDGE_HOST: "),
    "no pointer": ({"BRIDGE_DEVICE_ID_POINTERS": "data.id"}, "BRIDGE_DEVICE_ID_POINTERS: "),
    "one port twice": ({"BRIDGE_PORT": "8000", "BRIDGE_ADMIN_PORT": "8000"}, "BRIDGE_ADMIN_PORT"),
    "file is missing": ({"BRIDGE_CONFIG": "no-such.toml"}, "BRIDGE_CONFIG"),
}


@pytest.mark.parametrize("variables, name", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_named_and_nothing_starts(variables: dict[str, str], name: str, tmp_path: Path) -> None:
    """Exit status 2, one line for each problem, no traceback, and no secret."""
    done = run("serve", folder=tmp_path, **{**GOOD, **variables})
    assert done.returncode == 2, done.stderr
    assert f"telemetry-bridge: {name}" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""
    assert SECRET not in done.stderr


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Nobody wants to find them one start at a time; .env and the TOML file count too."""
    (tmp_path / ".env").write_text("BRIDGE_QOS=1\n")
    (tmp_path / "telemetry-bridge.toml").write_text('prot = 1\nlog_level = "LOUD"\n')
    done = run("serve", folder=tmp_path, BRIDGE_PORT="-1", BRIDGE_ACCESS_KEYS=KEY)
    assert done.returncode == 2
    named = {line.split(": ")[1] for line in done.stderr.splitlines()}
    assert named == {"BRIDGE_PORT", "BRIDGE_QOS", "BRIDGE_PROT", "BRIDGE_LOG_LEVEL"}


def test_a_toml_file_that_does_not_parse_is_named(tmp_path: Path) -> None:
    """With the line on which it breaks."""
    (tmp_path / "telemetry-bridge.toml").write_text("port = = 1\n")
    done = run("serve", folder=tmp_path, **GOOD)
    assert done.returncode == 2
    assert "telemetry-bridge.toml" in done.stderr
    assert "line 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["BRIDGE_PORT", "BRIDGE_ADMIN_PORT"])
def test_a_port_in_use_is_one_line(name: str, tmp_path: Path) -> None:
    """Exit status 1: the settings are right, the host says no."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", folder=tmp_path, **{**GOOD, name: port})
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert port in line
    assert name in line


def test_a_host_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    """An address of another machine, and a name that nobody has."""
    for host in ("192.0.2.1", "no-such-host.invalid"):
        done = run("serve", folder=tmp_path, **GOOD, BRIDGE_HOST=host)
        assert done.returncode == 1, done.stderr
        (line,) = done.stderr.splitlines()
        assert host in line


def test_tls_files_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    """Missing, or no certificate at all."""
    (tmp_path / "empty.pem").write_text("")
    for path in ("no-such.pem", "empty.pem"):
        done = run("serve", folder=tmp_path, **GOOD, BRIDGE_TLS_CERT=path, BRIDGE_TLS_KEY=path)
        assert done.returncode == 1, done.stderr
        (line,) = done.stderr.splitlines()
        assert "BRIDGE_TLS_CERT" in line


def test_settings_come_from_the_environment_then_dotenv_then_the_file(tmp_path: Path) -> None:
    """The stronger place wins; a server starts with what all three say together."""
    quiet = f"mqtt://127.0.0.1:{free_port()}"
    (tmp_path / "telemetry-bridge.toml").write_text(
        f'access_keys = "{KEY}"\nmqtt_url = "{quiet}"\nlog_format = "json"\n'
    )
    (tmp_path / ".env").write_text("BRIDGE_LOG_FORMAT=json\nBRIDGE_LOG_LEVEL=ERROR\n")
    with Serving(tmp_path, log_level="INFO") as serving:
        assert serving.log_file.read_text().startswith('{"at":')
        assert serving.end() == 0
