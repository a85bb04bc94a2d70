"""The broker: device_id → the cohorts that want it. One loop turn: append, then write each socket once."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bridge.core.device_ids import Allowed
from bridge.core.telemetry import Telemetry
from bridge.fanout.cohort import Cohort
from bridge.fanout.history import LastKnown
from bridge.fanout.routing import Routing
from bridge.fanout.subscription import Subscription, Tally
from bridge.protocol.frames import message_frame

RECOUNT_SECONDS: Final = 1.0
PUMP_SECONDS: Final = 0.005
"""Between two looks at sockets that are behind. Short, so that one that catches up is served at once."""
PUMP_SHARE_SECONDS: Final = 20e-6
"""Added per socket that is behind: with 10,000 of them the look costs 1 % of the loop, not all of it."""


@dataclass(frozen=True, slots=True)
class BrokerStatistics:
    """The first five count messages since start, the others things that there are now.

    ``published``: came from the handoff. ``delivered``: written, once for each socket. ``dropped`` and
    ``conflated``: missed, once for each socket. ``lost``: dropped before they came here. ``devices`` are
    those that someone selects by id, and those heard since the last change of a pattern that one covers.
    """

    published: int
    delivered: int
    dropped: int
    conflated: int
    lost: int
    devices: int
    subscriptions: int
    cohorts: int
    selectors: int
    behind: int


class Broker:
    """Knows who wants what. Not thread-safe: everything happens on the loop. Nothing here awaits.

    ``clock`` is wall-clock (time.time), ``monotonic`` time.monotonic, ``call_later`` the loop's, ``before_turn``
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
        self._lasting: dict[Cohort, None] = {}
        self._routing = Routing()
        self._membership: dict[Subscription, Cohort] = {}
        self._sweeps: dict[Subscription, frozenset[str]] = {}
        self._behind: dict[Subscription, None] = {}
        self._pumping = False
        self._lost = 0
        self._devices_counted = 0
        self._devices_until = 0.0
        self.tally = Tally()

    # --- selections -----------------------------------------------------------------------------------

    def select(self, subscription: Subscription, selectors: frozenset[str]) -> frozenset[str]:
        """From now on ``subscription`` gets the devices that ``selectors`` (ids and patterns) cover.

        Replaces what it had before, in its outbox too; an empty set ends it and leaves nothing behind.
        Returns a set equal to ``selectors`` that all with the same selection share: keep that one.
        """
        before = self._membership.pop(subscription, None)
        if before is not None and before.selectors != selectors:
            self._part(subscription, before)
            if subscription.outbox is not None:
                subscription.outbox.retain(Allowed(selectors).__contains__)
        if not selectors:
            subscription.count_with(int)
            return selectors
        cohort = self._cohorts.get(selectors)
        if cohort is None:
            cohort = self._cohorts[selectors] = Cohort(selectors)
            self._routing.add(cohort)
        cohort.members[subscription] = None
        self._membership[subscription] = cohort
        if cohort is not before:
            subscription.count_with(cohort.count)
        return cohort.selectors

    def forget(self, subscription: Subscription) -> None:
        """Its socket is gone, or about to be closed: nothing more is written to it from here."""
        subscription.forget()
        self.select(subscription, frozenset())
        self._sweeps.pop(subscription, None)
        self._behind.pop(subscription, None)

    def _part(self, subscription: Subscription, cohort: Cohort) -> None:
        del cohort.members[subscription]
        if not cohort.members and cohort not in self._lasting:
            del self._cohorts[cohort.selectors]
            self._routing.discard(cohort)
            cohort.selectors = frozenset()  # an outdated route may hold the cohort for a while, but not a large set

    # --- cohorts of another make ------------------------------------------------------------------------

    def attach(self, cohort: Cohort) -> None:
        """Give ``cohort`` what its selectors cover until ``detach``, with members or without."""
        self._lasting[cohort] = None
        self._routing.add(cohort)

    def detach(self, cohort: Cohort) -> None:
        """Undo ``attach``. Members that are left are forgotten: a stream may outlive what it shows by a moment."""
        for subscription in list(cohort.members):
            self.forget(subscription)
        del self._lasting[cohort]
        self._routing.discard(cohort)

    def join(self, subscription: Subscription, cohort: Cohort) -> None:
        """Make a new ``subscription`` a member of an attached cohort, until it is forgotten."""
        cohort.members[subscription] = None
        self._membership[subscription] = cohort
        subscription.count_with(cohort.count)

    def deliver(self, cohort: Cohort) -> None:
        """A turn for one attached cohort, which has something to write that did not come with this turn's batch."""
        self._before_turn()
        self._flush((cohort,))

    def pump(self, subscription: Subscription) -> None:
        """Write what waits for ``subscription``, now and until it has caught up."""
        if subscription.pump(self._clock(), self._monotonic()):
            self.pump_later(subscription)

    # --- the way of a message -------------------------------------------------------------------------

    def publish(self, batch: Sequence[Telemetry]) -> None:
        """One turn: fan out ``batch``, in order. Never blocks; a slow socket costs the others nothing."""
        self._before_turn()
        routing, remember = self._routing, self._history.remember
        now, monotonic = self._clock(), self._monotonic()
        routes, version = routing.routes, routing.patterns.version
        touched: list[Cohort] = []
        try:
            for message in batch:
                self._sequence = sequence = self._sequence + 1
                number = remember(sequence, message, now, monotonic)
                device_id = message.device_id
                route = routes.get(device_id)
                cohorts = route[1] if route is not None and route[0] == version else routing.of(device_id)
                if not cohorts:
                    continue
                frame = message_frame(f"{self._epoch}-{number}", device_id, message.payload, message.retained)
                for cohort in cohorts:
                    if not cohort.entries:
                        touched.append(cohort)
                    cohort.entries.append((message, frame))
        finally:  # whatever fails above, a cohort with entries must be flushed: only an empty one is touched again
            self._flush(touched)

    def _flush(self, touched: Sequence[Cohort]) -> None:
        now, monotonic = self._clock(), self._monotonic()
        failure: Exception | None = None
        for cohort in touched:
            written = cohort.written
            try:
                behind = cohort.flush(now, monotonic)
            except Exception as error:  # a bug costs this cohort this turn, not the others everything
                failure = error
                continue
            self.tally.delivered += (cohort.written - written) * (len(cohort.members) - len(behind))
            for subscription in behind:
                self.pump_later(subscription)
        if failure is not None:
            raise failure

    def lost(self, counts: Mapping[str, int], others: int) -> None:
        """Messages were dropped before they came here: tell those who would have got them.

        ``others`` were dropped beyond those in ``counts``: then every gap is incomplete.
        """
        self._before_turn()
        self._lost += sum(counts.values()) + others
        now, monotonic = self._clock(), self._monotonic()
        by_cohort: dict[Cohort, dict[str, int]] = {}
        if others:
            by_cohort = {cohort: {} for cohort in (*self._cohorts.values(), *self._lasting)}
        for device_id, count in counts.items():
            for cohort in self._routing.of(device_id):
                name = cohort.name_of(device_id)
                if name is not None:
                    by_cohort.setdefault(cohort, {})[name] = count
        for cohort, missed in by_cohort.items():
            for subscription in cohort.members:
                subscription.lost(missed, others > 0, now)
                if subscription.pump(now, monotonic):
                    self.pump_later(subscription)

    def snapshot(self, subscription: Subscription, device_ids: Iterable[str], patterns: Iterable[str]) -> None:
        """Show ``subscription`` the last-known messages of these devices.

        A message that comes live after this call is not shown as well, nor is one of a device that is no
        longer selected when its turn comes. Written as fast as the socket takes it; what is pending is a
        list of the ids in ``device_ids`` and a place in the list of all devices, not messages.
        """
        frames = partial(self._replay_frames, subscription, self._sequence)
        by_id = dict.fromkeys(device_ids)
        subscription.replay(by_id, frames)
        covered = frozenset(patterns)
        if covered:
            # Asked again while a sweep is under way: the new one begins at the start and serves both.
            covered |= self._sweeps.get(subscription, frozenset())
            self._sweeps[subscription] = covered
            subscription.sweep(self._sweep(subscription, covered, by_id, frames))
        self.pump(subscription)

    def _sweep(
        self,
        subscription: Subscription,
        patterns: frozenset[str],
        shown: Container[str],
        frames: Callable[[str], Iterable[bytes]],
    ) -> Iterator[Sequence[bytes]]:
        covered = Allowed(patterns)
        for device_id in self._history.device_ids():
            yield tuple(frames(device_id)) if device_id in covered and device_id not in shown else ()
        self._sweeps.pop(subscription, None)

    def _replay_frames(self, subscription: Subscription, up_to: int, device_id: str) -> Iterable[bytes]:
        cohort = self._membership.get(subscription)
        if cohort is None or (device_id not in cohort.selectors and cohort not in self._routing.of(device_id)):
            return
        for sequence, number, message, _ in self._history.of(device_id):
            if sequence <= up_to:
                yield message_frame(f"{self._epoch}-{number}", device_id, message.payload, replay=True)

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
            delivered=self.tally.delivered,
            dropped=self.tally.dropped,
            conflated=self.tally.conflated,
            lost=self._lost,
            devices=self._devices(),
            subscriptions=len(self._membership),
            cohorts=len(self._cohorts) + len(self._lasting),
            selectors=len(self._routing),
            behind=len(self._behind),
        )

    def _devices(self) -> int:
        """Counted at most once a second: the question is open to everyone, and there may be 100,000."""
        now = self._monotonic()
        if now >= self._devices_until:
            self._devices_counted = self._routing.devices()
            self._devices_until = now + RECOUNT_SECONDS
        return self._devices_counted
