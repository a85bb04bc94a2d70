"""Channels on a broker whose time the test moves, and their viewers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bridge.core.telemetry import Telemetry
from bridge.fanout.broker import Broker
from bridge.fanout.history import LastKnown
from bridge.fanout.subscription import Subscription
from share.model.grant import FIELDS, Grant
from share.stream.channel import Channel
from tests.fakes import Loop, Timers, Transport, subscribe
from tests.telemetry import decoded
from tests.unit.fanout.brokers import things

NOW = 1_900_000_000.0
"""Wall-clock time at which every case begins."""
ONE = (("A", "Van 1"),)
TWO = (("A", "Van 1"), ("B", "Van 2"))


def fix(device_id: str, lat: float, time: float | None = None, *, retained: bool = False, **more: object) -> Telemetry:
    """A position on the meridian of 10° E; ``time`` is seconds since NOW."""
    data: dict[str, object] = {"lat": lat, "lon": 10.0, **more}
    if time is not None:
        data["time"] = NOW + time
    return decoded(data, device_id, retained=retained)


def network_made(lat: float, time: float) -> Telemetry:
    """Where ChirpStack takes A to be; ``time`` is seconds since NOW."""
    location = {"latitude": lat, "longitude": 10.0}
    return decoded({"time": NOW + time, "deviceInfo": {"devEui": "A"}, "location": location})


class Case:
    """A broker and a loop for channels. Wall clock and loop go together unless ``skew`` is changed."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.loop = Loop()
        self.skew = 0.0
        self.before_turn: Callable[[], None] = lambda: None
        self.arrivals = 0
        self.history = LastKnown()
        self.broker = Broker(
            self.history, clock=self.clock, monotonic=self.monotonic, call_soon=self.loop.call_soon,
            before_turn=self._turn,
        )  # fmt: skip

    def _turn(self) -> None:
        self.before_turn()

    def clock(self) -> float:
        return NOW + self.skew + self.timers.now

    def monotonic(self) -> float:
        return self.timers.now

    def channel(self, grant: Grant) -> Channel:
        """A channel that the broker keeps."""
        made = Channel(grant, call_later=self.timers, turn=self.broker.render, on_arrival=self._arrived)
        self.broker.keep(made.selection)
        return made

    def open(self, aliases: tuple[tuple[str, str], ...] = ONE, **terms: Any) -> Channel:
        """The same, for a grant of all fields."""
        return self.channel(Grant(**{"aliases": aliases, "fields": frozenset(FIELDS), **terms}))

    def viewer(self, channel: Channel, *, full: bool = False) -> Transport:
        """One more who watches, as a public stream begins; one whose socket is ``full`` takes nothing yet."""
        return self.join(channel, full=full)[1]

    def join(self, channel: Channel, *, full: bool = False) -> tuple[Subscription, Transport]:
        """The same, with its subscription."""
        subscription, transport = subscribe(self.broker)
        if full:
            transport.fill()
        channel.watched = True  # as a room sees to it
        self.broker.select(subscription, channel.selection)
        subscription.show(channel.known())
        self.broker.pump(subscription)
        self.loop.run()
        return subscription, transport

    def read(self, transport: Transport) -> None:
        """A viewer reads all that waits for it."""
        transport.drain()
        self.loop.run()

    def publish(self, *messages: Telemetry) -> None:
        """One turn."""
        self.broker.publish(messages)

    @property
    def things(self) -> tuple[int, int, int, int, int]:
        """What the broker has now."""
        self.timers.now += 1.0  # devices are counted anew
        return things(self.broker)

    def _arrived(self) -> None:
        self.arrivals += 1


def shown(transport: Transport) -> list[tuple[str, float]]:
    """Alias and latitude of what was written since the last call."""
    return [(one["alias"], one["data"]["lat"]) for one in transport.events()]


def lats(transport: Transport) -> list[float]:
    """Latitudes of what was written since the last call."""
    return [lat for _, lat in shown(transport)]


def lasts(channel: Channel) -> list[float | None]:
    """Latitudes that ``init`` would show."""
    return [None if body is None else json.loads(body)["lat"] for _, body in channel.last()]
