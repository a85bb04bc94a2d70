"""The simulator's thread: how long it waits before it tries again, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.cli import simulate
from bridge.cli.fleet import Fleet
from bridge.cli.simulate import STABLE_SECONDS, Simulator
from bridge.core.addresses import MqttAddress
from bridge.ingest.mqtt.publisher import LinkLostError, Publisher
from tests.fakes import Clock
from tests.functional.ingest.fake_mqtt import FakeMqtt, Link


class Connection:
    """A publisher whose TCP takes ``opening`` seconds, whose CONNACK comes at once, and which lives for ``life``."""

    clock: Clock
    script: list[tuple[float, float | None]]

    def __init__(self, *_: Any) -> None:
        opening, life = self.script.pop(0)
        self.clock.now += opening
        self.life = life
        self.ready = life is not None
        self.congested = False

    def publish(self, *_: Any) -> None:
        """Taken."""

    def turn(self, _timeout: float) -> None:
        """Over, after its life."""
        self.clock.now += self.life or 0.0
        raise LinkLostError("connection lost")

    def close(self) -> None:
        """Nothing to do."""


def attempts(monkeypatch: pytest.MonkeyPatch, *script: tuple[float, float | None]) -> tuple[list[int], list[str]]:
    """The attempt that each wait was reckoned for, and the lines, over connections of (opening, life or None)."""
    clock, waits, lines = Clock(), list[int](), list[str]()
    monkeypatch.setattr(Connection, "clock", clock, raising=False)
    monkeypatch.setattr(Connection, "script", list(script), raising=False)
    monkeypatch.setattr(simulate, "Publisher", Connection)
    monkeypatch.setattr("bridge.cli.simulate.time.monotonic", clock)
    simulator = Simulator("mqtt://h", Fleet(1, seed=1), 1.0, report=lines.append)

    def wait(attempt: int, _uniform: object) -> float:
        waits.append(attempt)
        if not Connection.script:
            simulator.stop()
        return 0.0

    monkeypatch.setattr(simulate, "full_jitter", wait)
    simulator._run()
    return waits, lines


def test_broker_that_accepts_and_drops_is_tried_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """CONNACK alone is no success; each loss of a connection is told all the same."""
    waits, lines = attempts(monkeypatch, *[(0.0, STABLE_SECONDS)] * 4)
    assert waits == [0, 1, 2, 3]
    assert [line.split()[0] for line in lines] == ["publishing", "no"] * 4


def test_slow_refusal_is_no_stable_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that took a minute to fail was never one that lasted; it is told once."""
    waits, lines = attempts(monkeypatch, *[(60.0, None)] * 3)
    assert waits == [0, 1, 2]
    assert len(lines) == 1


def test_connection_that_lasted_makes_the_next_failure_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from CONNACK."""
    waits, _ = attempts(monkeypatch, (0, None), (0, None), (0, STABLE_SECONDS + 0.1), (0, None))
    assert waits == [0, 1, 0, 1]


def test_loss_that_a_publish_finds_is_told_in_its_own_words() -> None:
    """paho has closed the socket by then: looking at it would say "Bad file descriptor"."""

    def script(link: Link) -> None:
        link.connack()
        link.hold()

    with FakeMqtt(script) as broker:
        publisher = Publisher(MqttAddress("127.0.0.1", broker.port, False, None, None), "5", None)
        try:
            while not publisher.ready:
                publisher.turn(1.0)
            publisher._client._sock_close()
            publisher._on_disconnect(None, None, Lost(), None, None)  # type: ignore[arg-type]
            with pytest.raises(LinkLostError, match="connection lost"):
                publisher.turn(0.0)
        finally:
            publisher.close()


class Lost:
    """paho's flags of a connection that broke."""

    is_disconnect_packet_from_server = False
