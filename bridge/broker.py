"""The broker: device_id → the cohorts that want it. One loop turn: append, then write each socket once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bridge.cohort import Cohort
from bridge.encoding import message_frame
from bridge.history import LastKnown
from bridge.limits import MAX_KNOWN_DEVICES
from bridge.selection import pattern_matcher
from bridge.subscription import Subscription
from bridge.telemetry import Telemetry

PUMP_SECONDS: Final = 0.005
"""Between two looks at sockets that are behind. Short, so that one that catches up is served at once."""
PUMP_SHARE_SECONDS: Final = 20e-6
"""Added per socket that is behind: with 10,000 of them the look costs 1 % of the loop, not all of it."""


@dataclass(frozen=True, slots=True)
class BrokerStatistics:
    """Counts since start, except ``subscriptions``, ``cohorts``, ``devices`` and ``behind``: now."""

    published: int
    deliveries: int
    subscriptions: int
    cohorts: int
    devices: int
    behind: int
    lost: int


class Broker:
    """Knows who wants what. Not thread-safe: everything happens on the loop. Nothing here awaits.

    ``clock`` is wall-clock (time.time), ``monotonic`` and ``call_later`` are the loop's, ``before_turn``
    runs before any turn's writes (it ends the streams whose credential is over).
    """

    def __init__(
        self,
        history: LastKnown,
        epoch: str,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
        before_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self._history = history
        self._epoch = epoch
        self._clock = clock
        self._monotonic = monotonic
        self._call_later = call_later
        self._before_turn = before_turn
        self._sequence = 0
        self._cohorts: dict[frozenset[str], Cohort] = {}
        self._exact: dict[str, dict[Cohort, None]] = {}
        self._patterns: dict[str, dict[Cohort, None]] = {}
        self._routes: dict[str, tuple[Cohort, ...]] = {}
        self._membership: dict[Subscription, Cohort] = {}
        self._behind: dict[Subscription, None] = {}
        self._pumping = False
        self._deliveries = 0
        self._lost = 0

    # --- selections -----------------------------------------------------------------------------------

    def select(self, subscription: Subscription, selectors: frozenset[str]) -> frozenset[str]:
        """From now on ``subscription`` gets the devices that ``selectors`` (ids and patterns) cover.

        Replaces what it had before, in its outbox too; an empty set ends it and leaves nothing behind.
        Returns a set equal to ``selectors`` that all with the same selection share: keep that one.
        """
        before = self._membership.pop(subscription, None)
        if before is not None and before.selectors != selectors:
            del before.members[subscription]
            if not before.members:
                self._dissolve(before)
            if subscription.outbox is not None:
                subscription.outbox.retain(_coverage(selectors))
        if not selectors:
            subscription.count_with(int)
            return selectors
        cohort = self._cohorts.get(selectors)
        if cohort is None:
            cohort = self._form(selectors)
        cohort.members[subscription] = None
        self._membership[subscription] = cohort
        if cohort is not before:
            subscription.count_with(cohort.count)
        return cohort.selectors

    def forget(self, subscription: Subscription) -> None:
        """Its socket is gone, or about to be closed: nothing more is written to it from here."""
        subscription.forget()
        self.select(subscription, frozenset())
        self._behind.pop(subscription, None)

    def _form(self, selectors: frozenset[str]) -> Cohort:
        cohort = self._cohorts[selectors] = Cohort(selectors)
        for selector in selectors:
            if "*" in selector:
                self._patterns.setdefault(selector, {})[cohort] = None
                self._routes.clear()
            else:
                self._exact.setdefault(selector, {})[cohort] = None
                self._routes.pop(selector, None)
        return cohort

    def _dissolve(self, cohort: Cohort) -> None:
        del self._cohorts[cohort.selectors]
        for selector in cohort.selectors:
            index = self._patterns if "*" in selector else self._exact
            del index[selector][cohort]
            if not index[selector]:
                del index[selector]
            if index is self._patterns:
                self._routes.clear()
            else:
                self._routes.pop(selector, None)

    def _route(self, device_id: str) -> tuple[Cohort, ...]:
        """The cohorts that want ``device_id``, each once. Remembered until a selection changes."""
        cohorts = dict(self._exact.get(device_id, ()))
        for pattern, wanting in self._patterns.items():
            if pattern_matcher(pattern)(device_id):
                cohorts.update(wanting)
        if len(self._routes) >= MAX_KNOWN_DEVICES:
            self._routes.clear()
        route = self._routes[device_id] = tuple(cohorts)
        return route

    # --- the way of a message -------------------------------------------------------------------------

    def publish(self, batch: Sequence[Telemetry]) -> None:
        """One turn: fan out ``batch``, in order. Never blocks; a slow socket costs the others nothing."""
        self._before_turn()
        routes, remember = self._routes, self._history.remember
        touched: list[Cohort] = []
        try:
            for message in batch:
                self._sequence = sequence = self._sequence + 1
                remember(sequence, message)
                cohorts = routes.get(message.device_id)
                if cohorts is None:
                    cohorts = self._route(message.device_id)
                if not cohorts:
                    continue
                frame = message_frame(f"{self._epoch}-{sequence}", message.device_id, message.payload, message.retained)
                for cohort in cohorts:
                    if not cohort.entries:
                        touched.append(cohort)
                    cohort.entries.append((message, frame))
        finally:  # whatever fails above, a cohort with entries must be flushed: only an empty one is touched again
            self._flush(touched)

    def _flush(self, touched: Sequence[Cohort]) -> None:
        now = self._clock()
        behind: list[Subscription] = []
        for cohort in touched:
            self._deliveries += len(cohort.entries) * len(cohort.members)
            behind += cohort.flush(now)
        for subscription in behind:
            self.pump_later(subscription)

    def lost(self, counts: Mapping[str, int]) -> None:
        """Messages were dropped before they came here: tell those who would have got them."""
        self._lost += sum(counts.values())
        now = self._clock()
        for device_id, count in counts.items():
            for cohort in self._routes.get(device_id) or self._route(device_id):
                for subscription in cohort.members:
                    subscription.lost(device_id, count, now)
                    self.pump_later(subscription)

    def snapshot(self, subscription: Subscription, device_ids: Iterable[str], patterns: Iterable[str]) -> None:
        """Show ``subscription`` the last-known messages of these devices.

        A message that comes live after this call is not shown as well, nor is one of a device that is no
        longer selected when its turn comes. Written as fast as the socket takes it; what is pending is a
        list of ids, not of messages.
        """
        wanted = dict.fromkeys(device_ids)
        matchers = [pattern_matcher(pattern) for pattern in patterns]
        if matchers:
            wanted.update(
                dict.fromkeys(known for known in self._history.device_ids() if any(match(known) for match in matchers))
            )
        subscription.replay(wanted, partial(self._replay_frames, subscription, self._sequence))
        if subscription.pump(self._clock(), self._monotonic()):
            self.pump_later(subscription)

    def _replay_frames(self, subscription: Subscription, up_to: int, device_id: str) -> Iterable[bytes]:
        cohort = self._membership.get(subscription)
        if cohort is None:
            return
        if device_id not in cohort.selectors and cohort not in (self._routes.get(device_id) or self._route(device_id)):
            return
        for sequence, message in self._history.of(device_id):
            if sequence <= up_to:
                yield message_frame(f"{self._epoch}-{sequence}", device_id, message.payload, replay=True)

    # --- sockets that are behind ------------------------------------------------------------------------

    def pump_later(self, subscription: Subscription) -> None:
        """Look after a socket until it has caught up or is gone."""
        self._behind[subscription] = None
        if not self._pumping:
            self._pumping = True
            self._call_later(PUMP_SECONDS + PUMP_SHARE_SECONDS * len(self._behind), self._pump)

    def _pump(self) -> None:
        self._pumping = False
        self._before_turn()
        now, monotonic = self._clock(), self._monotonic()
        for subscription in list(self._behind):
            if monotonic >= subscription.next_look and not subscription.pump(now, monotonic):
                self._behind.pop(subscription, None)
        if self._behind and not self._pumping:
            self._pumping = True
            self._call_later(PUMP_SECONDS + PUMP_SHARE_SECONDS * len(self._behind), self._pump)

    def statistics(self) -> BrokerStatistics:
        return BrokerStatistics(
            published=self._sequence,
            deliveries=self._deliveries,
            subscriptions=len(self._membership),
            cohorts=len(self._cohorts),
            devices=len(self._exact) + len(self._patterns),
            behind=len(self._behind),
            lost=self._lost,
        )


def _coverage(selectors: frozenset[str]) -> Callable[[str], bool]:
    """Whether a device is covered by one of ``selectors``."""
    matchers = [pattern_matcher(selector) for selector in selectors if "*" in selector]
    return lambda device_id: device_id in selectors or any(match(device_id) for match in matchers)
