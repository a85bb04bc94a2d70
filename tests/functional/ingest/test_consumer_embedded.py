"""The embedded MQTT broker (amqtt, in this process) and the consumer that reads it."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from bridge.core.addresses import MqttAddress
from bridge.core.errors import StartError
from bridge.ingest.mqtt.embedded import MQTT_VERSION, EmbeddedBroker
from bridge.ingest.mqtt.publisher import Publisher
from tests.functional.ingest.fake_mqtt import consuming, options
from tests.waiting import wait_until

STOP_SECONDS = 10.0
"""Far above the two seconds of ``stop()``: the machine may be busy. A broker that does not stop takes for ever."""

# amqtt leaves transports of clients that go to the garbage collector (amqtt 0.12 StreamWriterAdapter).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def started(port: int = 0) -> EmbeddedBroker:
    """A broker that runs. Tried until it does, since any other program may take the port just before it."""

    def attempt() -> EmbeddedBroker | None:
        broker = EmbeddedBroker(port)
        try:
            broker.start()
        except StartError:
            return None
        return broker

    return wait_until(attempt)


def publish(address: MqttAddress, topic: str, payload: bytes) -> None:
    """One message, as the simulator sends it."""
    publisher = Publisher(address, MQTT_VERSION, None)
    try:
        while not publisher.ready:
            publisher.turn(0.1)
        publisher.publish(topic, payload)
        publisher.turn(0.0)
    finally:
        publisher.close()


def test_a_message_passes_through() -> None:
    """Published on a loopback port that was free, received by the consumer; both end in time."""
    broker = started()
    try:
        assert broker.address.host == "127.0.0.1"
        with consuming(options(broker.address.port, version=MQTT_VERSION)) as (consumer, collected):
            wait_until(lambda: consumer.statistics().ready)
            publish(broker.address, "fleet/A", b'{"data":{"DEVICE_ID":"A"}}')
            collected.wait_for("A")
    finally:
        began = time.monotonic()
        broker.stop()
    assert time.monotonic() - began < STOP_SECONDS
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "embedded-mqtt"])


def test_its_end_is_noticed_and_its_return() -> None:
    """The same port again: the consumer comes back by itself."""
    first = started()
    with consuming(options(first.address.port, version=MQTT_VERSION)) as (consumer, _):
        wait_until(lambda: consumer.statistics().ready)
        first.stop()
        wait_until(lambda: not consumer.statistics().ready)
        second = started(first.address.port)
        try:
            wait_until(lambda: consumer.statistics().ready)
        finally:
            second.stop()


def test_a_port_in_use_is_said() -> None:
    """One line, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            EmbeddedBroker(port).start()
