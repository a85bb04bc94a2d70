"""The simulator against a real Mosquitto."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bridge.cli.fleet import Fleet
from bridge.cli.simulate import Simulator
from tests.mosquitto import Credentials, MosquittoServer
from tests.real.conftest import StartMosquitto
from tests.waiting import wait_until


@pytest.fixture
def start_simulator() -> Iterator[Callable[..., tuple[Simulator, list[str]]]]:
    """Starts simulators and gives what they report; all have ended when the test has."""
    simulators: list[Simulator] = []

    def start(url: str, vehicles: int = 3, rate: float = 20.0, **options: object) -> tuple[Simulator, list[str]]:
        lines: list[str] = []
        simulator = Simulator(url, Fleet(vehicles, seed=1), rate, report=lines.append, **options)  # type: ignore[arg-type]
        simulators.append(simulator)
        simulator.start()
        return simulator, lines

    yield start
    for simulator in simulators:
        simulator.stop()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_every_vehicle_publishes_its_position(
    mosquitto: MosquittoServer, start_simulator: Callable[..., tuple[Simulator, list[str]]], version: str
) -> None:
    """Topic and payload name the same vehicle; both protocol versions work."""
    _, lines = start_simulator(mosquitto.url(), version=version)
    done = mosquitto.client("mosquitto_sub", "-t", "fleet/#", "-C", "12", "-v")
    received = [line.split(" ", 1) for line in done.stdout.decode().splitlines()]
    assert {topic for topic, _ in received} == {f"fleet/truck-00{number}/position" for number in (1, 2, 3)}
    assert all(json.loads(payload)["data"]["DEVICE_ID"] in topic for topic, payload in received)
    assert lines == [f"publishing 3 vehicles to {mosquitto.url()}"]


def test_publishes_are_spread_at_the_given_rate(
    mosquitto: MosquittoServer, start_simulator: Callable[..., tuple[Simulator, list[str]]]
) -> None:
    """Ten vehicles at twenty a second make two hundred a second, not ten bursts."""
    simulator, _ = start_simulator(mosquitto.url(), vehicles=10, rate=20.0)
    wait_until(lambda: simulator.connected_at is not None)

    def rate() -> float:
        before, began = simulator.published_messages, time.monotonic()
        time.sleep(1.0)
        return (simulator.published_messages - before) / (time.monotonic() - began)

    wait_until(lambda: 100 < rate() < 260)  # not in each second of a busy machine


def test_the_simulator_comes_back_when_the_mqtt_broker_does_even_with_many_open_files(
    mosquitto: MosquittoServer, start_simulator: Callable[..., tuple[Simulator, list[str]]]
) -> None:
    """Above 1,024 file descriptors select() cannot watch the new socket (eclipse/paho.mqtt.python#819)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096) if hard > 0 else 4_096, hard))
    null = os.open(os.devnull, os.O_RDONLY)
    fillers = [os.dup(null) for _ in range(1_100)]
    try:
        simulator, lines = start_simulator(mosquitto.url())
        wait_until(lambda: simulator.published_messages > 0)
        mosquitto.kill()
        wait_until(lambda: simulator.connected_at is None)
        mosquitto.start()
        wait_until(lambda: simulator.connections == 2)
        published = simulator.published_messages
        wait_until(lambda: simulator.published_messages > published)
        assert any(line.startswith(f"no connection to {mosquitto.url()}: ") for line in lines)
    finally:
        for filler in (*fillers, null):
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_nothing_is_queued_for_a_broker_that_takes_no_data(
    mosquitto: MosquittoServer, start_simulator: Callable[..., tuple[Simulator, list[str]]]
) -> None:
    """What falls due meanwhile is skipped and counted."""
    simulator, _ = start_simulator(mosquitto.url(), vehicles=200, rate=100.0)
    wait_until(lambda: simulator.connected_at is not None)
    mosquitto.pause()
    wait_until(lambda: simulator.skipped_messages > 0)
    mosquitto.resume()


def test_wrong_credentials_are_said_and_hold_no_password(
    start_mosquitto: StartMosquitto,
    credentials: Credentials,
    start_simulator: Callable[..., tuple[Simulator, list[str]]],
) -> None:
    """The operator learns where to look, and the password stays where it was."""
    server = start_mosquitto(credentials=credentials)
    simulator, lines = start_simulator(f"mqtt://bridge:wr0ng@127.0.0.1:{server.port}")
    wait_until(lambda: bool(lines))
    assert simulator.refusal == "Not authorized"
    assert "check user and password" in lines[0]
    assert "wr0ng" not in "".join(lines)


# paho leaves the socket of a handshake that failed to the garbage collector (paho-mqtt 2.2 _ssl_wrap_socket).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_is_verified(
    start_mosquitto: StartMosquitto,
    credentials: Credentials,
    start_simulator: Callable[..., tuple[Simulator, list[str]]],
) -> None:
    """A private authority works when it is named, and nothing is sent when it is not."""
    server = start_mosquitto(credentials=credentials, tls=True)
    trusting, _ = start_simulator(server.tls_url("bridge"), ca_file=credentials.ca_file)
    wait_until(lambda: trusting.published_messages > 0)
    _, lines = start_simulator(server.tls_url("bridge"))
    wait_until(lambda: bool(lines))
    assert "self-signed certificate" in lines[0] or "unable to get local issuer certificate" in lines[0]


def test_stop_is_quick_with_and_without_a_broker(
    mosquitto: MosquittoServer,
    start_simulator: Callable[..., tuple[Simulator, list[str]]],
) -> None:
    """At once, also in the middle of a back-off of ten minutes, and twice."""
    connected, _ = start_simulator(mosquitto.url())
    wait_until(lambda: connected.connected_at is not None)
    alone, lines = start_simulator("mqtt://127.0.0.1:1", backoff=lambda _: 600.0)
    wait_until(lambda: bool(lines))
    for simulator in (connected, alone):
        simulator.stop()
        simulator.stop()
        assert simulator.connected_at is None
    wait_until(lambda: not any(thread.name == "simulate" for thread in threading.enumerate()))


@pytest.mark.parametrize("url", ["embedded", "http://h", "mqtt://u:s3cret@h:99999"])
def test_addresses_that_cannot_be_are_refused_without_an_echo(url: str) -> None:
    """A password in the URL is not repeated."""
    with pytest.raises(ValueError, match="write mqtt://") as caught:
        Simulator(url, Fleet(1, seed=1), 1.0)
    assert "s3cret" not in str(caught.value)
