"""The embedded MQTT broker (amqtt, in this process) and the consumer that reads it."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from bridge.checks import MqttAddress
from bridge.embedded import MQTT_VERSION, EmbeddedBroker
from bridge.errors import StartError
from bridge.publisher import Publisher
from tests.functional.fake_mqtt import consuming, options
from tests.waiting import wait_until

STOP_SECONDS = 3.0

# amqtt leaves transports of clients that go to the garbage collector (amqtt 0.12 StreamWriterAdapter).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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
    broker = EmbeddedBroker()
    broker.start()
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
    assert not [thread for thread in threading.enumerate() if thread.name == "embedded-mqtt"]


def test_its_end_is_noticed_and_its_return() -> None:
    """The same port again: the consumer comes back by itself."""
    first = EmbeddedBroker()
    first.start()
    with consuming(options(first.address.port, version=MQTT_VERSION)) as (consumer, _):
        wait_until(lambda: consumer.statistics().ready)
        first.stop()
        wait_until(lambda: not consumer.statistics().ready)
        second = EmbeddedBroker(first.address.port)
        second.start()
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
