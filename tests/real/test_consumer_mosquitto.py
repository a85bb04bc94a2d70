"""The consumer against a real Mosquitto that pauses, flaps, floods and retains."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from bridge.core.telemetry import UpstreamState
from tests.functional.ingest.fake_mqtt import QUICK, Waits, consuming, lines, options
from tests.mosquitto import MosquittoServer
from tests.real.conftest import StartMosquitto
from tests.sockets import open_files
from tests.waiting import wait_until

KEEPALIVE_SECONDS = 2
HELD_UP_SECONDS = 30.0
"""More than a busy machine adds to anything; what is to be found out would take for ever."""
QOS_1_MESSAGES = 5_000
FLAPS = 6
TEN_MEGABYTES = 10_000_000


def seed(device_id: str, number: int = 1) -> str:
    """A message in the DEVICE_ID envelope."""
    return f'{{"data":{{"DEVICE_ID":"{device_id}","N":{number}}}}}'


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_retained_messages_are_marked_and_live_ones_are_not(mosquitto: MosquittoServer, version: str) -> None:
    """Old news must not look like news, in both protocol versions."""
    mosquitto.publish("fleet/A", seed("A"), retain=True)
    with consuming(options(mosquitto.port, version=version)) as (consumer, collected):
        collected.wait_for("A")
        wait_until(lambda: consumer.statistics().ready)
        mosquitto.publish("fleet/B", seed("B"), retain=True)
        collected.wait_for("B")
    assert [(message.device_id, message.retained) for message in collected.messages] == [("A", True), ("B", False)]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_qos_1_does_not_stall_after_thousands_of_messages(start_mosquitto: StartMosquitto, version: str) -> None:
    """Each is acknowledged: Mosquitto holds at most its window of those that are not, and then sends no more."""
    mosquitto = start_mosquitto(extra=("max_inflight_messages 50",))
    with consuming(options(mosquitto.port, qos=1, version=version)) as (consumer, collected):
        wait_until(lambda: consumer.statistics().ready)
        batch = "\n".join(seed("A", number) for number in range(QOS_1_MESSAGES)).encode()
        done = mosquitto.client("mosquitto_pub", "-t", "fleet/A", "-q", "1", "-l", data=batch)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(collected.messages) >= QOS_1_MESSAGES, what=lambda: len(collected.messages))
        assert [message.payload for message in collected.messages] == batch.split(b"\n")
        assert consumer.statistics().connects == 1


def test_ten_megabytes_are_counted_and_the_next_message_arrives(mosquitto: MosquittoServer) -> None:
    """On the same connection, at both qualities of service."""
    with consuming(options(mosquitto.port, qos=1)) as (consumer, collected):
        wait_until(lambda: consumer.statistics().ready)
        for qos in (0, 1):
            mosquitto.publish("fleet/A", b'{"x":"' + b"y" * TEN_MEGABYTES + b'"}', qos=qos)
            mosquitto.publish("fleet/A", seed(f"after-{qos}"), qos=qos)
            collected.wait_for(f"after-{qos}")
        # What was too large is counted after the messages that came with its end.
        wait_until(lambda: consumer.statistics().refused == {"oversize": 2}, what=consumer.statistics)
        assert consumer.statistics().connects == 1


def test_a_paused_mqtt_broker_is_noticed_within_two_keep_alives(
    start_mosquitto: StartMosquitto,
) -> None:
    """A half-open link brings no end by itself; data comes again when the MQTT broker does."""
    mosquitto = start_mosquitto(extra=("log_type all",))
    limits = replace(QUICK, keepalive_seconds=KEEPALIVE_SECONDS)
    with consuming(options(mosquitto.port), limits=limits) as (consumer, collected):
        wait_until(lambda: pings_of_one_link(mosquitto) >= 2, what=mosquitto.log)
        downs = collected.states.count(UpstreamState.DOWN)
        mosquitto.pause()
        began = time.monotonic()
        wait_until(lambda: collected.states.count(UpstreamState.DOWN) > downs and not consumer.statistics().ready)
        assert time.monotonic() - began < 2 * KEEPALIVE_SECONDS + HELD_UP_SECONDS
        mosquitto.resume()
        wait_until(lambda: consumer.statistics().ready)
        mosquitto.publish("fleet/A", seed("back"))
        collected.wait_for("back")


def pings_of_one_link(mosquitto: MosquittoServer) -> int:
    """How many pings the newest connection has lived through."""
    return mosquitto.log().rpartition(" connected from ")[2].count("Sending PINGRESP to ")


def test_two_consumers_with_one_client_id_come_back_ever_less_often(
    mosquitto: MosquittoServer, caplog: pytest.LogCaptureFixture
) -> None:
    """They throw each other out for ever; the waits grow, and the log says what to change."""
    waits, given = Waits(0.02), options(mosquitto.port)

    def bounds() -> list[float]:
        return [min(cap, base * 2.0**failures) for failures, base, cap in waits.asked]

    with consuming(given, waits=waits), consuming(given, waits=waits):
        wait_until(lambda: max(bounds(), default=0) >= 30)
        wait_until(lambda: any("BRIDGE_MQTT_CLIENT_ID" in line for line in lines(caplog)))
    asked = next(number for number, bound in enumerate(bounds(), 1) if bound >= 30)
    assert asked <= 2 * 10  # 0.5, 1, 2, 4 … 30 for each of the two


def test_a_flapping_mqtt_broker_grows_nothing_and_doubles_nothing(
    mosquitto: MosquittoServer,
) -> None:
    """After many restarts: the same threads and files, and each message once."""
    with consuming(options(mosquitto.port)) as (consumer, collected):
        wait_until(lambda: consumer.statistics().ready)
        threads, files = set(threading.enumerate()), open_files()
        for number in range(2, FLAPS + 2):
            mosquitto.kill()
            mosquitto.start()
            wait_until(lambda number=number: consumer.statistics().connects >= number)  # type: ignore[misc]
            wait_until(lambda: consumer.statistics().ready)
        mosquitto.publish("fleet/A", seed("A"))
        mosquitto.publish("fleet/B", seed("B"))
        collected.wait_for("B")
        assert collected.device_ids() == ["A", "B"]
        assert set(threading.enumerate()) <= threads
        assert open_files() <= files
    assert collected.states == [UpstreamState.UP, *[UpstreamState.DOWN, UpstreamState.UP] * FLAPS]


def test_a_consumer_under_flood_stops_in_time(mosquitto: MosquittoServer) -> None:
    """As an operator's restart in the busiest minute."""
    stop = threading.Event()

    def flood() -> None:
        batch = "\n".join(seed("A", number) for number in range(20_000)).encode()
        while not stop.is_set():
            mosquitto.client("mosquitto_pub", "-t", "fleet/A", "-l", data=batch)

    publisher = threading.Thread(target=flood)
    with consuming(options(mosquitto.port)) as (consumer, collected):
        publisher.start()
        try:
            wait_until(lambda: len(collected.messages) > 1_000)
            consumer.stop(HELD_UP_SECONDS)
            assert not consumer.statistics().alive
        finally:
            stop.set()
            publisher.join()
