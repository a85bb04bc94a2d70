"""The small commands as a person uses them: keygen, token, healthcheck, simulate, watch."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from bridge.access.paseto import KeyRing
from tests.mosquitto import Credentials, MosquittoServer
from tests.ports import free_port
from tests.real.conftest import StartMosquitto
from tests.serving import KEY, Process, StartServing, run
from tests.sockets import Crowd, LeanSocket

SECONDS = 60.0


# --- keygen and token ------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["access", "share"])
def test_keygen_prints_a_fresh_key_and_nothing_else(purpose: str, tmp_path: Path) -> None:
    """Ready for a shell's ``$(…)``; never the same one twice."""
    first, second = (run("keygen", purpose, folder=tmp_path) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("k4.local.")
    assert first.stdout.count("\n") == 1
    assert first.stdout != second.stdout
    KeyRing([first.stdout.strip()])


def test_token_prints_a_token_that_opens_what_it_names(
    mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path
) -> None:
    """From the shell to the stream: device A, and not device B."""
    serving = start_serving(mqtt_url=mosquitto.url())
    done = run("token", "--devices", "A", "--ttl", "1m", folder=tmp_path, BRIDGE_ACCESS_KEYS=KEY)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    with Crowd() as crowd:
        client = crowd.add(LeanSocket(serving.port, "/api/v1/stream?device_ids=A,B", done.stdout.strip()))
        crowd.pump_until(lambda: client.has("subscribed"), SECONDS)
        assert client.has("subscribed", device_ids=["A"], refused=["B"])


@pytest.mark.parametrize(
    "arguments, variables, named",
    [
        (("--devices", "A"), {}, "BRIDGE_ACCESS_KEYS"),
        (("--devices", "A"), {"BRIDGE_ACCESS_KEYS": "k4.local.short"}, "BRIDGE_ACCESS_KEYS"),
        ((), {"BRIDGE_ACCESS_KEYS": KEY}, "--devices"),
        (("--devices", "A", "--ttl", "soon"), {"BRIDGE_ACCESS_KEYS": KEY}, "--ttl"),
        (("--devices", "A", "--ttl", "0s"), {"BRIDGE_ACCESS_KEYS": KEY}, "ttl"),
        (("--devices", "A", "--scope", "everything"), {"BRIDGE_ACCESS_KEYS": KEY}, "scope"),
        (("--devices", "x" * 65), {"BRIDGE_ACCESS_KEYS": KEY}, "device"),
    ],
)
def test_a_token_that_would_be_useless_is_not_made(
    arguments: tuple[str, ...], variables: dict[str, str], named: str, tmp_path: Path
) -> None:
    """Exit status 2, what to write instead, nothing on stdout."""
    done = run("token", *arguments, folder=tmp_path, **variables)
    assert done.returncode == 2, done.stdout
    assert named in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


# --- healthcheck -----------------------------------------------------------------------------------------


def test_healthcheck_follows_readiness(mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path) -> None:
    """0 while telemetry can arrive; 1, with the reason, while it cannot; 1 when nobody is there."""
    serving = start_serving(mqtt_url=mosquitto.url())
    serving.wait_ready()
    settings = {"BRIDGE_ACCESS_KEYS": KEY, "BRIDGE_PORT": str(serving.port)}
    done = run("healthcheck", folder=tmp_path, **settings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mosquitto.stop()
    serving.wait_for("is not available")
    done = run("healthcheck", folder=tmp_path, **settings)
    assert done.returncode == 1
    assert "MQTT" in done.stderr
    assert serving.end() == 0
    done = run("healthcheck", folder=tmp_path, **settings)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_healthcheck_asks_the_admin_port(
    mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path
) -> None:
    """Where the settings put /readyz there; the public port then knows nothing of it."""
    admin = free_port()
    serving = start_serving(mqtt_url=mosquitto.url(), admin_port=admin)
    serving.wait_for("Subscribed")
    settings = {"BRIDGE_ACCESS_KEYS": KEY, "BRIDGE_PORT": str(serving.port), "BRIDGE_ADMIN_PORT": str(admin)}
    assert run("healthcheck", folder=tmp_path, **settings).returncode == 0
    assert serving.get("/readyz")[0] == 404
    assert serving.get("/api/v1/stream/stats")[0] == 404


# --- simulate and watch ----------------------------------------------------------------------------------


def test_a_simulated_fleet_is_watched(mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path) -> None:
    """simulate → Mosquitto → serve → watch, each its own process, from the first message to Ctrl-C."""
    serving = start_serving(mqtt_url=mosquitto.url(), mqtt_topics="fleet/#")
    serving.wait_ready()
    token = run("token", "--devices", "truck-*", folder=tmp_path, BRIDGE_ACCESS_KEYS=KEY).stdout.strip()
    with Process(tmp_path, "simulate", "--mqtt-url", mosquitto.url(), "--vehicles", "3", "--rate", "10") as fleet:
        watched = run(
            "watch", "truck-001,truck-003", "--json", "--count", "6", folder=tmp_path,
            TELEMETRY_BRIDGE_URL=f"http://127.0.0.1:{serving.port}", TELEMETRY_BRIDGE_TOKEN=token,
        )  # fmt: skip
        assert watched.returncode == 0, watched.stderr
        events = [json.loads(line) for line in watched.stdout.splitlines()]
        assert events[0]["event"] == "hello"
        seen = [event["device_id"] for event in events if event["event"] == "message"]
        assert len(seen) == 6
        assert set(seen) == {"truck-001", "truck-003"}
        assert fleet.end(signal.SIGINT) == 0
    assert f"publishing 3 vehicles to {mosquitto.url()}" in fleet.log()


def test_simulate_with_a_wrong_password_says_so(
    start_mosquitto: StartMosquitto, credentials: Credentials, tmp_path: Path
) -> None:
    """Exit status 1 and one line without the password."""
    server = start_mosquitto(credentials=credentials)
    done = run("simulate", "--mqtt-url", f"mqtt://bridge:wr0ng@127.0.0.1:{server.port}", folder=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "wr0ng" not in done.stderr


def test_watch_says_why_it_is_refused(mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path) -> None:
    """A token of another server: exit status 3 and the server's words."""
    serving = start_serving(mqtt_url=mosquitto.url())
    other = run("keygen", "access", folder=tmp_path).stdout.strip()
    token = run("token", "--devices", "A", folder=tmp_path, BRIDGE_ACCESS_KEYS=other).stdout.strip()
    done = run("watch", "A", "--url", f"http://127.0.0.1:{serving.port}", "--token", token, folder=tmp_path)
    assert done.returncode == 3
    assert "token_invalid" in done.stderr
    assert token not in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",), ("serve", "--help"), ("--version",), ("nonsense",)])
def test_help_is_there_without_any_setting(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing that a person tries first ends in a traceback."""
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == (0 if "--help" in arguments or "--version" in arguments else 2)
    assert "telemetry-bridge" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
