"""A broker on a loop that turns when a test says so, and its subscribers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

from bridge.fanout.broker import Broker
from bridge.fanout.history import LastKnown
from bridge.fanout.outbox import Policy
from bridge.fanout.rendering import PayloadRenderer, Selection
from bridge.fanout.subscription import Subscription
from tests.fakes import Clock, Loop, Owner, Transport, subscribe


class Case:
    """A broker and its subscribers. ``before_turn`` is what runs before any turn's writes; ``turns`` how often."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.clock = Clock()
        self.monotonic = Clock(3600.0)
        self.turns = 0
        self.before_turn: Callable[[], None] = lambda: None
        self.renderer = PayloadRenderer("k")
        self.broker = Broker(
            LastKnown(), clock=self.clock, monotonic=self.monotonic, call_soon=self.loop.call_soon,
            before_turn=self._turn,
        )  # fmt: skip
        self.owners: list[weakref.ref[Owner]] = []

    def _turn(self) -> None:
        self.turns += 1
        self.before_turn()

    def selection(self, *selectors: str) -> Selection | None:
        """Of what the devices publish, as it is; of nothing None."""
        return Selection(frozenset(selectors), self.renderer) if selectors else None

    def select(self, subscription: Subscription, *selectors: str) -> None:
        self.broker.select(subscription, self.selection(*selectors))

    def subscriber(
        self, *selectors: str, policy: Policy = Policy.LATEST, messages: int = 100
    ) -> tuple[Subscription, Transport]:
        """One more who has selected this."""
        owner = Owner()
        self.owners.append(weakref.ref(owner))
        subscription, transport = subscribe(self.broker, policy, messages, owner=owner)
        self.select(subscription, *selectors)
        return subscription, transport

    def snapshot(self, subscription: Subscription, *selectors: str) -> None:
        """Show it what is known of these."""
        exact = [one for one in selectors if "*" not in one]
        patterns = [one for one in selectors if "*" in one]
        self.broker.snapshot(subscription, exact, patterns, self.renderer.replay)

    @property
    def things(self) -> tuple[int, int, int, int, int]:
        """What the broker has now."""
        self.monotonic.now += 60.0  # devices are counted anew
        return things(self.broker)

    @property
    def held(self) -> int:
        """How many of the subscriptions that there ever were are still in memory."""
        gc.collect()
        return sum(owner() is not None for owner in self.owners)


def things(broker: Broker) -> tuple[int, int, int, int, int]:
    """What a broker has: subscriptions, cohorts, selectors, devices, sockets that are behind."""
    stats = broker.statistics()
    return stats.subscriptions, stats.cohorts, stats.selectors, stats.devices, stats.behind


NOTHING = (0, 0, 0, 0, 0)
"""The things of a broker that has none."""


def ids(transport: Transport) -> list[str]:
    """Device and number of each message (``A-1``), and the names of other events, since the last call."""
    return [
        one["id"].replace("k", one["device_id"], 1) if one["event"] == "message" else one["event"]
        for one in transport.events()
    ]
