"""The simulator's thread: how long it waits before it tries again, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.cli.fleet import Fleet
from bridge.cli.simulate import STABLE_SECONDS, Simulator
from bridge.core.addresses import MqttAddress
from bridge.ingest.mqtt.publisher import LinkLostError, Publisher
from tests.fakes import Clock
from tests.functional.ingest.fake_mqtt import FakeMqtt, Link


class Connection:
    """A publisher whose CONNACK comes at once, and which lives for ``life``; None is no connection at all."""

    def __init__(self, clock: Clock, life: float | None) -> None:
        self.clock = clock
        self.life = life
        self.ready = life is not None
        self.congested = False

    def publish(self, *_: Any) -> None:
        """Taken."""

    def turn(self, _timeout: float) -> None:
        """Lost, after its life."""
        self.clock.now += self.life or 0.0
        raise LinkLostError("connection lost")

    def close(self) -> None:
        """Nothing to do."""


def attempts(*script: tuple[float, float | None]) -> tuple[list[int], list[str]]:
    """The attempt that each wait was reckoned for, and the lines, over connections of (opening, life or None)."""
    clock, waits, lines, left = Clock(), list[int](), list[str](), list(script)

    def connect(*_: object) -> Any:
        opening, life = left.pop(0)
        clock.now += opening
        return Connection(clock, life)

    def wait(attempt: int) -> float:
        waits.append(attempt)
        if not left:
            simulator.stop()
        return 0.0

    simulator = Simulator(
        "mqtt://h", Fleet(1, seed=1), 1.0, report=lines.append, backoff=wait, connect=connect, clock=clock
    )
    simulator.run()
    return waits, lines


def test_broker_that_accepts_and_drops_is_tried_ever_less_often() -> None:
    """CONNACK alone is no success; each loss of a connection is reported all the same."""
    waits, lines = attempts(*[(0.0, STABLE_SECONDS)] * 4)
    assert waits == [0, 1, 2, 3]
    assert [line.split()[0] for line in lines] == ["publishing", "no"] * 4


def test_slow_refusal_is_no_stable_connection() -> None:
    """An attempt that took a minute to fail was never one that lasted; it is reported once."""
    waits, lines = attempts(*[(60.0, None)] * 3)
    assert waits == [0, 1, 2]
    assert len(lines) == 1


def test_connection_that_lasted_makes_the_next_failure_the_first() -> None:
    """Counted from CONNACK."""
    waits, _ = attempts((0, None), (0, None), (0, STABLE_SECONDS + 0.1), (0, None))
    assert waits == [0, 1, 0, 1]


def test_loss_that_a_publish_finds_is_a_lost_connection() -> None:
    """paho has closed the socket by then: looking at it would say "Bad file descriptor"."""

    def script(link: Link) -> None:
        link.connack()
        link.hold()

    with FakeMqtt(script) as broker:
        publisher = Publisher(MqttAddress("127.0.0.1", broker.port, False, None, None), "5", None)
        while not publisher.ready:
            publisher.turn(1.0)
    try:
        for _ in range(3):  # the first may still be written, the answer to it is a reset
            publisher.publish("fleet/A/position", b"{}")
        with pytest.raises(LinkLostError, match="connection lost"):
            publisher.turn(0.0)
    finally:
        publisher.close()
