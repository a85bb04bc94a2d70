"""The consumer against bytes that are no MQTT, claims that are lies, and decoders with bugs."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from bridge.core.errors import PayloadCause
from bridge.core.telemetry import Telemetry, UpstreamState
from tests.functional.ingest.fake_mqtt import (
    DISCONNECT,
    PUBLISH,
    TAKEN_OVER,
    FakeMqtt,
    Link,
    Waits,
    consuming,
    json_decoder,
    lines,
    options,
    packet,
    position,
    publish,
)
from tests.waiting import wait_until

SEED = 20_261
RANDOM_LINKS = 80
CLAIM_BYTES = 256 * 1024 * 1024 - 1
"""The largest remaining length that MQTT can express."""
SENT_BYTES = 16 * 1024 * 1024
MEMORY_BYTES = 4 * 1024 * 1024
"""One read (256 KiB) and a few copies of it."""


def sends_first(data: bytes, *, close: bool = False) -> FakeMqtt:
    """A broker that sends ``data`` on the first connection and a good message on the others."""

    def script(link: Link) -> None:
        link.accept()
        if link.number == 1:
            link.send(data)
            if close:
                return
        else:
            link.send(position("next"))
        link.hold()

    return FakeMqtt(script)


BROKEN = {
    "QoS 2": publish(b"fleet/A", b"{}", qos=2),
    "QoS 3": publish(b"fleet/A", b"{}", qos=3),
    "length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "topic longer than the packet": packet(PUBLISH, 0, b"\xff\xffab"),
    "no properties": packet(PUBLISH, 0, b"\0\x01a"),
    "properties longer than the packet": packet(PUBLISH, 0, b"\0\x01a\x7f"),
    "properties that do not end": packet(PUBLISH, 0, b"\0\x01a\xff\xff"),
    "no packet id": packet(PUBLISH, 2, b"\0\x01a"),
    "empty PUBLISH": packet(PUBLISH, 0, b""),
    "reserved type 0": packet(0, 0, b""),
    "CONNECT from the server": packet(1, 0, b"\0\x04MQTT\x05\x02\0\x3c\0\0\0"),
    "SUBACK cut short": packet(9, 0, b"\0"),
    "SUBACK with an unknown reason": packet(9, 0, b"\0\x01\0\x77"),
    "CONNACK cut short": packet(2, 0, b"\0"),
    "DISCONNECT with a broken property": packet(DISCONNECT, 0, b"\0\x02\xff\xff"),
    "a control packet of 256 MiB": b"\x90\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_packet_costs_the_connection_and_nothing_else(data: bytes) -> None:
    """The thread lives, the next connection delivers, and clients hear of it at most once."""
    with sends_first(data, close=True) as broker, consuming(options(broker.port)) as (consumer, collected):
        collected.wait_for("next")
        assert consumer.statistics().alive
        one_loss = [UpstreamState.UP, UpstreamState.DOWN, UpstreamState.UP]
        # One UP only when it broke in the same read as the SUBACK: it was never up.
        wait_until(lambda: collected.states in (one_loss, [UpstreamState.UP]), what=lambda: collected.states)


def test_random_bytes_never_end_the_thread() -> None:
    """Noise before, within and after the handshake, on many connections one after the other."""
    chance = random.Random(SEED)

    def script(link: Link) -> None:
        noise = chance.randbytes(chance.choice((1, 2, 5, 40, 3000)))
        if link.number > RANDOM_LINKS:
            link.accept()
            link.send(position("after-the-noise"))
            link.hold()
        elif link.number % 3 == 0:
            link.send(noise)
        elif link.number % 3 == 1:
            link.connack()
            link.send(noise)
        else:
            link.accept()
            link.send(bytes([0x30 | noise[0] & 0x0F]) + noise)

    with FakeMqtt(script) as broker, consuming(options(broker.port)) as (consumer, collected):
        collected.wait_for("after-the-noise")
        assert consumer.statistics().alive
        assert broker.connections > RANDOM_LINKS


@pytest.mark.parametrize("cut_after", [1, 3, 8, 20])
def test_a_message_cut_by_the_end_of_the_connection_is_not_delivered(cut_after: int) -> None:
    """Half a PUBLISH is dropped, and does not mix with what the next connection brings."""
    with (
        sends_first(position("half")[:cut_after], close=True) as broker,
        consuming(options(broker.port)) as (_, collected),
    ):
        collected.wait_for("next")
        assert collected.device_ids() == ["next"]


def test_a_message_that_comes_byte_by_byte_is_delivered() -> None:
    """TCP keeps no packet borders."""

    def script(link: Link) -> None:
        link.accept()
        for byte in position("slow") + position("slow", 2):
            link.send(bytes([byte]))
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port)) as (_, collected):
        wait_until(lambda: len(collected.messages) == 2)


BAD_TOPICS = {
    "invalid UTF-8": b"fleet/\xff\xfe",
    "surrogate": b"fleet/\xed\xa0\x80",
    "NUL": b"fleet/\0",
    "wildcard +": b"fleet/+/x",
    "wildcard #": b"#",
    "empty": b"",
    "long": b"x" * 60_000,
}


@pytest.mark.parametrize("topic", BAD_TOPICS.values(), ids=BAD_TOPICS.keys())
def test_a_bad_topic_is_counted_and_the_stream_goes_on(topic: bytes) -> None:
    """On the same connection: a device's mistake is not the MQTT broker's."""

    def script(link: Link) -> None:
        link.accept()
        link.send(publish(topic, b'{"data":{"DEVICE_ID":"A"}}') + position("good"))
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port)) as (consumer, collected):
        collected.wait_for("good")
        assert collected.device_ids() == ["good"]
        assert consumer.statistics().refused == {PayloadCause.BAD_TOPIC: 1}
        assert broker.connections == 1


def test_a_claim_of_256_mib_costs_no_memory() -> None:
    """What arrives of it is thrown away as it comes; the message after it is delivered."""

    def script(link: Link) -> None:
        link.accept()
        head = b"\0\x07fleet/A\0"
        link.send(b"\x30" + bytes([0x80 | SENT_BYTES & 0x7F, 0x80 | SENT_BYTES >> 7 & 0x7F]))
        link.send(bytes([0x80 | SENT_BYTES >> 14 & 0x7F, SENT_BYTES >> 21]) + head)
        left = SENT_BYTES - len(head)
        while left:
            size = min(left, 1 << 16)
            link.send(b"x" * size)
            left -= size
        link.send(position("after"))
        link.send(b"\x30\xff\xff\xff\x7f" + head + b"x" * 100_000)  # and one that never ends
        link.hold()

    tracemalloc.start()
    try:
        with FakeMqtt(script) as broker, consuming(options(broker.port)) as (consumer, collected):
            collected.wait_for("after")
            wait_until(lambda: consumer.statistics().refused.get("oversize") == 2)
            _, peak = tracemalloc.get_traced_memory()
            assert broker.connections == 1
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_BYTES


def test_a_second_client_with_our_id_makes_us_wait_and_say_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two nodes that throw each other out must not do it a hundred times a second (reason 0x8E)."""
    waits = Waits()

    def script(link: Link) -> None:
        link.accept()
        link.send(packet(DISCONNECT, 0, bytes([TAKEN_OVER, 0])))
        if link.number > 1:
            link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port), waits=waits):
        wait_until(lambda: waits.asked)
        assert waits.asked[0][1] >= 10
    assert "BRIDGE_MQTT_CLIENT_ID" in lines(caplog)[0]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt, MemoryError, RecursionError])
def test_a_decoder_that_raises_costs_that_message_only(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Counted each time, with one traceback in the log; the connection stays."""
    inner = json_decoder()

    class Bug:
        def decode(self, topic: bytes, payload: bytes, retained: bool) -> Telemetry:
            if topic == b"fleet/bad":
                raise error("from a decoder")
            return inner.decode(topic, payload, retained)

    def script(link: Link) -> None:
        link.accept()
        link.send(position("bad") + position("bad") + position("good"))
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port), Bug()) as (consumer, collected):
        collected.wait_for("good")
        assert consumer.statistics().refused == {PayloadCause.DECODER_BUG: 2}
        assert broker.connections == 1
    assert len(lines(caplog)) == 1
