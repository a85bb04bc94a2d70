"""Which devices one stream has selected, within what its principal may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.access.claims import NO_GROUPS
from bridge.access.principal import Principal
from bridge.core.device_ids import EVERYTHING, Allowed, Groups, parse_device_ids
from bridge.core.errors import CommandError
from bridge.fanout.broker import Broker
from bridge.fanout.rendering import PayloadRenderer, Selection
from bridge.fanout.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Change:
    """The outcome of one command. ``refused`` names what the token does not allow, known or not."""

    device_ids: tuple[str, ...]
    groups: tuple[str, ...]
    refused: tuple[str, ...]
    selectors: frozenset[str]

    def data(self) -> dict[str, object]:
        """What the client is answered."""
        return {"device_ids": self.device_ids, "groups": self.groups, "refused": self.refused}


class DeviceSelection:
    """Ids, groups and, perhaps, everything. At most ``max_device_ids`` ids."""

    __slots__ = ("_allowed", "_broker", "_device_ids", "_everything", "_groups", "_known_groups", "_limit",
                 "_renderer", "_subscription")  # fmt: skip

    def __init__(
        self, broker: Broker, subscription: Subscription, renderer: PayloadRenderer, groups: Groups, max_device_ids: int
    ) -> None:
        """``groups`` are all that there are; ``renderer`` says how the selected devices are shown."""
        self._broker = broker
        self._subscription = subscription
        self._renderer = renderer
        self._known_groups = groups
        self._limit = max_device_ids
        self._allowed: Allowed | None = None
        self._device_ids: frozenset[str] = frozenset()
        self._groups = NO_GROUPS
        self._everything = False

    def add(self, principal: Principal, device_ids: Sequence[str], groups: Sequence[str]) -> Change:
        """Select these too. Each is allowed or refused on its own.

        CommandError ``device_ids_required``, ``invalid_device_id`` or ``too_many_device_ids``: then
        nothing has changed.
        """
        ids, everything = parse_device_ids(device_ids, self._limit)
        names = {name.strip() for text in groups for name in text.split(",")} - {""}
        if not ids and not everything and not names:
            raise CommandError("device_ids_required", "name device_ids (or * for all that the token allows) or groups")
        granted = frozenset(device_id for device_id in ids if device_id in principal.allowed)
        granted_groups = frozenset(names) & principal.groups
        if len(self._device_ids | granted) > self._limit:
            raise CommandError(
                "too_many_device_ids", f"at most {self._limit} device ids on one socket; use a group or *"
            )
        self._allowed = principal.allowed
        self._device_ids |= granted
        if granted_groups:  # a union of empty sets is one more empty set
            self._groups |= granted_groups
        self._everything |= everything
        self._apply()
        selectors = {*granted, *self._members(granted_groups)}
        if everything:
            selectors |= principal.allowed.selectors()
        refused = sorted(ids - granted) + sorted(names - granted_groups)
        return Change(_shown(granted, everything), tuple(sorted(granted_groups)), tuple(refused), frozenset(selectors))

    def remove(self, device_ids: Sequence[str], groups: Sequence[str]) -> Change:
        """Select these no longer; ``*`` takes back ``*``. What was not selected is left out of the answer."""
        ids, everything = parse_device_ids(device_ids, self._limit)
        names = frozenset(name.strip() for text in groups for name in text.split(",")) & self._groups
        shown = _shown(ids & self._device_ids, everything and self._everything)
        self._device_ids -= ids
        self._groups -= names
        self._everything &= not everything
        self._apply()
        return Change(shown, tuple(sorted(names)), (), frozenset())

    def restrict(self, principal: Principal) -> list[str]:
        """The token was exchanged: keep what the new one allows; returns what was taken away."""
        ids = frozenset(device_id for device_id in self._device_ids if device_id in principal.allowed)
        groups = self._groups & principal.groups
        refused = sorted(self._device_ids - ids) + sorted(self._groups - groups)
        self._allowed, self._device_ids, self._groups = principal.allowed, ids, groups
        self._apply()
        return refused

    def snapshot(self, change: Change) -> None:
        """Show the last-known messages of what ``change`` has added."""
        exact = [selector for selector in change.selectors if EVERYTHING not in selector]
        patterns = [selector for selector in change.selectors if EVERYTHING in selector]
        self._broker.snapshot(self._subscription, sorted(exact), patterns, self._renderer.replay)

    def data(self) -> dict[str, object]:
        """What is selected, as the client named it."""
        return {"device_ids": _shown(self._device_ids, self._everything), "groups": sorted(self._groups)}

    def _apply(self) -> None:
        selectors: set[str] = set(self._device_ids)
        if self._everything and self._allowed is not None:
            selectors |= self._allowed.selectors()
        selectors.update(self._members(self._groups))
        selection = Selection(frozenset(selectors), self._renderer) if selectors else None
        shared = self._broker.select(self._subscription, selection)
        if shared is not None and shared.device_ids == self._device_ids:
            self._device_ids = shared.device_ids  # one set for all sockets of the cohort

    def _members(self, groups: Iterable[str]) -> Iterable[str]:
        for name in groups:
            yield from self._known_groups.get(name, ())


def _shown(device_ids: frozenset[str], everything: bool) -> tuple[str, ...]:
    return (*sorted(device_ids), EVERYTHING) if everything else tuple(sorted(device_ids))
