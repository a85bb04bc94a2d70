"""The MQTT keep-alive, with messages that never pass through paho."""

from __future__ import annotations

import time

import pytest

from bridge.consumer import link as link_module
from tests.functional.fake_mqtt import FakeMqtt, Link, consuming, options, publish


def test_large_message_on_a_slow_link_is_no_dead_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are life: a message that takes longer than two keep-alives to arrive arrives, on the first connection."""
    keepalive = 1
    payload = b'{"data":{"DEVICE_ID":"A","PAD":"' + b"x" * 900 + b'"}}'
    packet = publish(b"fleet/A", payload)

    def script(link: Link) -> None:
        link.accept()
        for start in range(0, len(packet), 25):  # no PINGRESP can come in the middle of a packet
            link.send(packet[start : start + 25])
            time.sleep(3.5 * keepalive * 25 / len(packet))
        link.hold()

    monkeypatch.setattr(link_module, "KEEPALIVE_SECONDS", keepalive)
    with FakeMqtt(script) as broker, consuming(options(broker.port)) as (consumer, collected):
        collected.wait_for("A")
        assert collected.messages[0].payload == payload
        assert consumer.statistics().connects == 1
