"""The consumer against an MQTT broker that refuses, is silent, or answers late."""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import replace

import pytest

from bridge.core.telemetry import UpstreamState
from bridge.ingest.mqtt.link import make_client
from tests.functional.ingest.fake_mqtt import (
    BAD_CREDENTIALS,
    CONNECT,
    GRANTED,
    NOT_AUTHORIZED,
    PUBACK,
    QUICK,
    Collected,
    FakeMqtt,
    Link,
    Waits,
    consuming,
    lines,
    nobody_listens,
    options,
    position,
    publish,
)
from tests.waiting import wait_until

SOON = 0.3
IMPATIENT = replace(QUICK, connect_seconds=SOON)


def told(collected: Collected, *states: UpstreamState) -> None:
    """Wait for exactly these states. A message may come before them: it may share a read with the SUBACK."""
    wait_until(lambda: len(collected.states) >= len(states), what=lambda: collected.states)
    assert collected.states == list(states)


def test_paho_reads_through_our_socket() -> None:
    """``_create_socket`` is not public: a later paho that does not call it would go back to its own parser."""
    with FakeMqtt(Link.hold) as broker:
        client = make_client(options(broker.port))
        lifted = client.open(options(broker.port).address)
        assert client.lifted is lifted
        assert client.socket() is client.lifted
        lifted.close()


def test_a_message_arrives_as_published() -> None:
    """From PUBLISH to the door, payload byte for byte, and ready is said."""

    def script(link: Link) -> None:
        link.accept()
        link.send(publish(b"fleet/A", b'{ "data": {"DEVICE_ID":"A"} }', retain=True))
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port)) as (consumer, collected):
        collected.wait_for("A")
        assert collected.messages[0].payload == b'{ "data": {"DEVICE_ID":"A"} }'
        assert collected.messages[0].retained
        told(collected, UpstreamState.UP)
        assert consumer.statistics().ready


def test_a_message_before_the_suback_is_not_lost() -> None:
    """The MQTT broker may send matching messages before its SUBACK (MQTT 5.0 section 3.8.4)."""

    def script(link: Link) -> None:
        link.connack()
        link.send(position("early"))
        link.suback()
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port)) as (_, collected):
        collected.wait_for("early")


def test_qos_1_messages_are_acknowledged_each_by_its_id() -> None:
    """Good ones, bad ones and those that are too large alike: what is not acknowledged blocks the window."""
    acknowledged: list[bytes] = []

    def script(link: Link) -> None:
        link.accept()
        link.send(publish(b"fleet/A", b'{"data":{"DEVICE_ID":"A"}}', qos=1, packet_id=7))
        link.send(publish(b"fleet/A", b"no JSON", qos=1, packet_id=8))
        link.send(publish(b"fleet/A", b"x" * 200_000, qos=1, packet_id=9))
        acknowledged.extend(link.expect(PUBACK)[:2] for _ in range(3))
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port, qos=1)) as (consumer, _):
        wait_until(lambda: len(acknowledged) == 3)
        assert sorted(acknowledged) == [b"\0\x07", b"\0\x08", b"\0\x09"]
        assert consumer.statistics().refused == {"invalid_json": 1, "oversize": 1}
        assert consumer.statistics().received == 3


@pytest.mark.parametrize("reason", [BAD_CREDENTIALS, NOT_AUTHORIZED, 0x85, 0x8A])
def test_a_refused_connection_is_said_once_and_tried_again_slowly(
    reason: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong password, banned, client id not valid: a person must act, so the waits are long and the log is short."""
    given, waits = {"user": "bridge", "password": "s3cr3t-pa55"}, Waits()

    def script(link: Link) -> None:
        link.connack(reason)

    with (
        FakeMqtt(script) as broker,
        consuming(options(broker.port, **given), waits=waits) as (consumer, collected),
    ):
        wait_until(lambda: broker.connections >= 4)
        assert not consumer.statistics().ready
        assert "it refused the connection" in consumer.statistics().detail
        assert collected.states == []
    said = lines(caplog)
    assert len(said) == 1
    assert "BRIDGE_MQTT_URL" in said[0]
    assert "s3cr3t-pa55" not in caplog.text
    longest = QUICK.refused_seconds
    assert waits.asked[:3] == [(failures, longest / 4, longest) for failures in range(3)]


def test_the_password_goes_out_in_connect_only() -> None:
    """The user's name and password of the URL are in CONNECT, as given."""
    seen: list[bytes] = []

    def script(link: Link) -> None:
        seen.append(link.connack())
        link.suback()
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port, user="u", password="p w")):
        wait_until(lambda: seen)
        assert seen[0].endswith(b"\0\x01u\0\x03p w")


@pytest.mark.parametrize("silent_at", ["CONNACK", "SUBACK"])
def test_a_silent_broker_is_left_and_tried_again(silent_at: str) -> None:
    """A port that accepts and says nothing (a stopped process, another protocol) does not hold the consumer."""

    def script(link: Link) -> None:
        if link.number >= 3:
            link.accept()
        elif silent_at == "SUBACK":
            link.connack()
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port), limits=IMPATIENT) as (consumer, collected):
        told(collected, UpstreamState.UP)
        assert consumer.statistics().ready
        assert broker.connections >= 3


def test_one_refused_filter_of_two_makes_unready_is_named_once_and_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The access list is repaired by a person meanwhile; no reconnect, no flood of lines."""
    asked: list[bytes] = []
    repaired = threading.Event()

    def script(link: Link) -> None:
        link.connack()
        asked.append(link.suback(GRANTED, NOT_AUTHORIZED))
        link.send(position("after-1"))
        while True:  # the consumer counts the answer to its newest question only, and goes on asking
            answer = GRANTED if repaired.is_set() else NOT_AUTHORIZED
            asked.append(link.suback(answer))

    with FakeMqtt(script) as broker:
        given = options(broker.port, topics=("open/#", "closed/#"))
        with consuming(given, limits=replace(QUICK, refused_seconds=SOON)) as (consumer, collected):
            collected.wait_for("after-1")
            wait_until(lambda: "closed/#" in consumer.statistics().detail)
            assert "open/#" not in consumer.statistics().detail
            assert not consumer.statistics().ready
            wait_until(lambda: len(asked) >= 3)
            assert collected.states == []
            repaired.set()
            told(collected, UpstreamState.UP)
            assert consumer.statistics().ready
            assert broker.connections == 1
            assert [b"open/#" in one for one in asked] == [True] + [False] * (len(asked) - 1)
    (said,) = lines(caplog)
    assert "closed/#" in said
    assert "access list" in said


def test_nobody_listening_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for the whole outage, with the address; the attempts go on."""
    waits = Waits()
    with nobody_listens() as port, consuming(options(port), waits=waits) as (consumer, _):
        wait_until(lambda: len(waits.asked) >= 3)
        assert "refused" in consumer.statistics().detail
    assert len(lines(caplog)) == 1
    assert f"127.0.0.1:{port}" in lines(caplog)[0]


def test_a_name_that_does_not_resolve_is_tried_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt asks the resolver again, so that a broker that moves is found."""
    real, answers = socket.getaddrinfo, iter([False, False])

    def resolve(host: str, *arguments: object, **rest: object) -> object:
        if host == "mqtt.example.com":
            if not next(answers, True):
                raise socket.gaierror(-2, "Name or service not known")
            host = "127.0.0.1"
        return real(host, *arguments, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    def script(link: Link) -> None:
        link.accept()
        link.hold()

    with (
        FakeMqtt(script) as broker,
        consuming(options(broker.port, host="mqtt.example.com")) as (consumer, _),
    ):
        wait_until(lambda: consumer.statistics().ready)
    assert len(lines(caplog, logging.WARNING)) == 1
    assert "Name or service not known" in caplog.text


def test_a_link_that_breaks_is_told_and_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    """``down`` and ``up``, each once, and one line for the loss."""

    def script(link: Link) -> None:
        link.accept()
        link.send(position(f"link-{link.number}"))
        if link.number > 1:
            link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port)) as (consumer, collected):
        collected.wait_for("link-2")
        told(collected, UpstreamState.UP, UpstreamState.DOWN, UpstreamState.UP)
        assert consumer.statistics().connects == 2
    assert len(lines(caplog)) == 1


def test_a_first_packet_that_is_no_connack_is_no_connection() -> None:
    """A broker that grants subscriptions before CONNACK breaks the protocol; nothing is taken for granted."""

    def script(link: Link) -> None:
        if link.number == 1:
            link.expect(CONNECT)
            link.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        else:
            link.accept()
        link.hold()

    with FakeMqtt(script) as broker, consuming(options(broker.port), limits=IMPATIENT) as (consumer, _):
        wait_until(lambda: consumer.statistics().ready)
        assert broker.connections >= 2
