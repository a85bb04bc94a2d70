"""The broker: device_id → the cohorts that want it. One loop turn: append, then write each socket once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.core.device_ids import Allowed
from bridge.core.telemetry import Telemetry
from bridge.fanout.cohort import Cohort
from bridge.fanout.history import LastKnown
from bridge.fanout.rendering import Message, Selection
from bridge.fanout.routing import Routing
from bridge.fanout.snapshot import Replay, Snapshot
from bridge.fanout.subscription import Subscription, Tally

PUMP_SECONDS: Final = 0.005
"""For writing what waits, in one turn: the other sockets, and what ends at its time, get their turn between."""
RECOUNT_SECONDS: Final = 1.0
"""Between two counts of the devices that somebody watches: everyone may ask, and there may be 100,000."""


@dataclass(frozen=True, slots=True)
class BrokerStatistics:
    """The first five count messages since start, the others things that there are now.

    ``published``: came from the handoff. ``delivered``: written, once for each socket. ``dropped`` and
    ``conflated``: missed, once for each socket. ``lost``: dropped before they came here. ``devices`` are
    those that someone selects by id, and those heard since the last change of a pattern that one covers.
    ``behind`` are the sockets for which something waits.
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

    A subscription is in one cohort at a time: ``select``, ``forget``. Telemetry comes by ``publish``, losses by
    ``lost``; what a socket could not take goes out by ``pump`` when it can.
    """

    def __init__(
        self,
        history: LastKnown,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        before_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """``clock`` is wall-clock (time.time), ``monotonic`` time.monotonic, ``call_soon`` the loop's.

        ``before_turn`` runs before any turn's writes: it ends the streams whose credential has expired.
        """
        self._history = history
        self._clock = clock
        self._monotonic = monotonic
        self._call_soon = call_soon
        self._before_turn = before_turn
        self._sequence = 0
        self._cohorts: dict[Selection, Cohort] = {}
        self._routing = Routing()
        self._membership: dict[Subscription, Cohort] = {}
        self._snapshots: dict[Subscription, Snapshot] = {}
        self._pending: dict[Subscription, None] = {}
        self._lost = 0
        self._devices_counted = 0
        self._devices_until = 0.0
        self.tally = Tally()

    # --- selections -----------------------------------------------------------------------------------

    def select(self, subscription: Subscription, selection: Selection | None) -> Selection | None:
        """From now on ``subscription`` gets what ``selection`` covers, as it shows it; None: nothing.

        Replaces what it had before, in its outbox too. Returns a selection equal to the given one that all of
        the cohort share: keep that one.
        """
        before = self._membership.get(subscription)
        if before is not None:
            if before.selection == selection:
                return before.selection
            del self._membership[subscription]
            del before.members[subscription]
            self._drop_if_empty(before)
            if subscription.outbox is not None:
                subscription.outbox.retain(Allowed(selection.device_ids if selection else ()).__contains__)
        if selection is None:
            return None
        cohort = self._cohort(selection)
        cohort.members[subscription] = None
        self._membership[subscription] = cohort
        subscription.renderer = selection.renderer
        return cohort.selection

    def forget(self, subscription: Subscription) -> None:
        """Its socket is gone, or about to be closed: nothing more is written to it from here."""
        subscription.forget()
        self.select(subscription, None)
        self._snapshots.pop(subscription, None)
        self._pending.pop(subscription, None)

    def keep(self, selection: Selection) -> None:
        """Render what ``selection`` covers until ``release``, also while nobody has selected it."""
        self._cohort(selection).lasting = True

    def release(self, selection: Selection) -> None:
        """Undo ``keep``. Subscriptions that are left are forgotten: a stream may outlive what it shows by a moment."""
        cohort = self._cohorts[selection]
        cohort.lasting = False
        for subscription in list(cohort.members):
            self.forget(subscription)
        if selection in self._cohorts:  # nobody was left
            self._drop_if_empty(cohort)

    def _cohort(self, selection: Selection) -> Cohort:
        cohort = self._cohorts.get(selection)
        if cohort is None:
            cohort = self._cohorts[selection] = Cohort(selection)
            self._routing.add(cohort)
        return cohort

    def _drop_if_empty(self, cohort: Cohort) -> None:
        if not cohort.members and not cohort.lasting:
            del self._cohorts[cohort.selection]
            self._routing.discard(cohort)
            # An outdated route may hold the cohort for a while, but not a large set.
            cohort.selection = Selection(frozenset(), cohort.selection.renderer)

    # --- the way of a message -------------------------------------------------------------------------

    def publish(self, batch: Sequence[Telemetry]) -> None:
        """One turn: fan out ``batch``, in order. Never blocks; a slow socket costs the others nothing."""
        self._before_turn()
        routing, remember = self._routing, self._history.remember
        routes, version = routing.routes, routing.patterns.version
        now, monotonic = self._clock(), self._monotonic()
        touched: list[Cohort] = []
        try:
            for telemetry in batch:
                self._sequence = sequence = self._sequence + 1
                number = remember(sequence, telemetry, now, monotonic)
                device_id = telemetry.device_id
                route = routes.get(device_id)
                cohorts = route[1] if route is not None and route[0] == version else routing.of(device_id)
                if not cohorts:
                    continue
                message = Message(telemetry, number)
                for cohort in cohorts:
                    if not cohort.turn:
                        touched.append(cohort)
                    cohort.turn.append(message)
        finally:  # whatever fails above, a cohort with messages must be flushed: only an empty one is touched again
            self._flush(touched, now, monotonic)

    def render(self, selection: Selection) -> None:
        """A turn for one selection, whose renderer has something to show that did not come with telemetry."""
        self._before_turn()
        cohort = self._cohorts.get(selection)
        if cohort is not None:
            self._flush((cohort,), self._clock(), self._monotonic())

    def _flush(self, touched: Sequence[Cohort], now: float, monotonic: float) -> None:
        failure: Exception | None = None
        for cohort in touched:
            try:
                self.tally.delivered += cohort.flush(now, monotonic)
            except Exception as error:  # a bug costs this cohort this turn, not the others everything
                failure = error
        if failure is not None:
            raise failure

    def lost(self, counts: Mapping[str, int], others: int) -> None:
        """Messages were dropped before they came here: tell those who would have got them.

        ``others`` were dropped beyond those in ``counts``: then every gap is incomplete.
        """
        self._before_turn()
        self._lost += sum(counts.values()) + others
        now = self._clock()
        by_cohort: dict[Cohort, dict[str, int]] = {}
        if others:
            by_cohort = {each: {} for each in self._cohorts.values() if each.selection.renderer.shows_losses}
        for device_id, count in counts.items():
            for cohort in self._routing.of(device_id):
                name = cohort.selection.renderer.name_of(device_id)
                if name is not None:
                    by_cohort.setdefault(cohort, {})[name] = count
        for cohort, missed in by_cohort.items():
            for subscription in cohort.members:
                subscription.lost(missed, others > 0, now)
                self._pump(subscription, now)

    def snapshot(
        self, subscription: Subscription, device_ids: Iterable[str], patterns: Collection[str], replay: Replay
    ) -> None:
        """Show ``subscription`` the last-known messages of these devices, as fast as its socket takes them.

        A message that comes live after this call is not shown as well, nor is one of a device that is no
        longer selected when its turn comes.
        """
        device_ids = [device_id for device_id in device_ids if device_id in self._history]
        if not device_ids and not patterns:
            return
        snapshot = self._snapshots.get(subscription)
        if snapshot is None:
            snapshot = Snapshot(self._history, replay, lambda each: self._wants(subscription, each))
            self._snapshots[subscription] = snapshot
        snapshot.ask(device_ids, patterns, self._sequence)
        subscription.show(snapshot)
        self.pump(subscription)

    def _wants(self, subscription: Subscription, device_id: str) -> bool:
        cohort = self._membership.get(subscription)
        return cohort is not None and (
            device_id in cohort.selection.device_ids or cohort in self._routing.of(device_id)
        )

    # --- sockets that are behind ------------------------------------------------------------------------

    def pump(self, subscription: Subscription) -> None:
        """Write what waits for ``subscription``: a chunk now, and one each turn while its socket takes them."""
        self._before_turn()
        self._pump(subscription, self._clock())

    def _pump(self, subscription: Subscription, now: float) -> None:
        subscription.pump(now)
        if subscription.pending:
            if not self._pending:
                self._call_soon(self._pump_pending)
            self._pending[subscription] = None
        elif not subscription.replaying:
            self._snapshots.pop(subscription, None)

    def _pump_pending(self) -> None:
        self._before_turn()
        pending, self._pending, now = list(self._pending), {}, self._clock()
        until = self._monotonic() + PUMP_SECONDS
        served = 0
        failure: Exception | None = None
        while served < len(pending) and self._monotonic() < until:
            subscription = pending[served]
            served += 1
            try:
                self._pump(subscription, now)
            except Exception as error:  # a bug costs this socket, not the others what waits for them
                failure = error
                subscription.failed()
        if served < len(pending):  # they come first in the next turn
            if not self._pending:
                self._call_soon(self._pump_pending)
            self._pending = {**dict.fromkeys(pending[served:]), **self._pending}
        if failure is not None:
            raise failure

    def statistics(self) -> BrokerStatistics:
        """Where things stand; costs little, however often it is asked for."""
        return BrokerStatistics(
            published=self._sequence,
            delivered=self.tally.delivered,
            dropped=self.tally.dropped,
            conflated=self.tally.conflated,
            lost=self._lost,
            devices=self._devices(),
            subscriptions=len(self._membership),
            cohorts=len(self._cohorts),
            selectors=len(self._routing),
            behind=self.tally.behind,
        )

    def _devices(self) -> int:
        now = self._monotonic()
        if now >= self._devices_until:
            self._devices_counted = self._routing.devices()
            self._devices_until = now + RECOUNT_SECONDS
        return self._devices_counted
