"""The MQTT keep-alive, with messages that never pass through paho."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from paho.mqtt.enums import MQTTErrorCode

from bridge.ingest.mqtt import ConsumerLimits
from bridge.ingest.mqtt import link as link_module
from bridge.ingest.mqtt.link import LiftingClient
from tests.fakes import Clock
from tests.functional.ingest.fake_mqtt import FakeMqtt, Link, consuming, options, publish
from tests.waiting import wait_until

PIECES = 10


def test_large_message_on_a_slow_link_is_no_dead_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are life: a message that takes longer than two keep-alives to arrive arrives, on the first connection."""
    payload = b'{"data":{"DEVICE_ID":"A","PAD":"' + b"x" * 900 + b'"}}'
    packet = publish(b"fleet/A", payload)
    size = -(-len(packet) // PIECES)
    clock, checks, check = Clock(), [0], LiftingClient.loop_misc
    limits = ConsumerLimits(tick_seconds=0.01)

    def loop_misc(client: LiftingClient) -> MQTTErrorCode:
        code = check(client)
        checks[0] += 1
        return code

    def script(link: Link) -> None:
        link.accept()
        for start in range(0, len(packet), size):  # no PINGRESP can come in the middle of a packet
            enough = checks[0] + 2  # the second one is of a turn that began after the last piece was there
            wait_until(lambda enough=enough: checks[0] >= enough)  # type: ignore[misc]
            clock.now += 3.5 * limits.keepalive_seconds / PIECES
            link.send(packet[start : start + size])
        link.hold()

    monkeypatch.setattr("paho.mqtt.client.time_func", clock)
    monkeypatch.setattr(link_module, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(LiftingClient, "loop_misc", loop_misc)
    with FakeMqtt(script) as broker, consuming(options(broker.port), limits=limits) as (consumer, collected):
        collected.wait_for("A")
        assert collected.messages[0].payload == payload
        assert consumer.statistics().connects == 1
