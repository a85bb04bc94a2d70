"""What one stream looks at, within what its principal may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.access.principal import Principal
from bridge.core.device_ids import EVERYTHING, Allowed, parse_device_ids
from bridge.core.errors import CommandError
from bridge.fanout.subscription import Subscription
from bridge.stream.hub import Hub


@dataclass(frozen=True, slots=True)
class Change:
    """The outcome of one command. ``refused`` names what the token does not allow, known or not."""

    device_ids: tuple[str, ...]
    groups: tuple[str, ...]
    refused: tuple[str, ...]
    selectors: frozenset[str]

    def data(self) -> dict[str, object]:
        return {"device_ids": self.device_ids, "groups": self.groups, "refused": self.refused}


class Viewing:
    """The selection of one stream: ids, groups and, perhaps, everything. At most MAX_DEVICE_IDS ids."""

    __slots__ = ("_allowed", "_device_ids", "_everything", "_groups", "_hub", "_subscription")

    def __init__(self, hub: Hub, subscription: Subscription) -> None:
        self._hub = hub
        self._subscription = subscription
        self._allowed: Allowed | None = None
        self._device_ids: frozenset[str] = frozenset()
        self._groups: frozenset[str] = frozenset()
        self._everything = False

    def add(self, principal: Principal, device_ids: Sequence[str], groups: Sequence[str]) -> Change:
        """Look at these too. Each is allowed or refused on its own.

        CommandError ``device_ids_required``, ``invalid_device_id`` or ``too_many_device_ids``: then
        nothing has changed.
        """
        limit = self._hub.settings.max_device_ids
        ids, everything = parse_device_ids(device_ids, limit)
        names = {name.strip() for text in groups for name in text.split(",")} - {""}
        if not ids and not everything and not names:
            raise CommandError("device_ids_required", "name device_ids (or * for all that the token allows) or groups")
        granted = frozenset(device_id for device_id in ids if device_id in principal.allowed)
        granted_groups = frozenset(names) & principal.groups
        if len(self._device_ids | granted) > limit:
            raise CommandError("too_many_device_ids", f"at most {limit} device ids on one socket; use a group or *")
        self._allowed = principal.allowed
        self._device_ids |= granted
        self._groups |= granted_groups
        self._everything |= everything
        self._apply()
        selectors = {*granted, *self._members(granted_groups)}
        if everything:
            selectors |= principal.allowed.selectors()
        shown = sorted(granted) + ([EVERYTHING] if everything else [])
        refused = sorted(ids - granted) + sorted(names - granted_groups)
        return Change(tuple(shown), tuple(sorted(granted_groups)), tuple(refused), frozenset(selectors))

    def remove(self, device_ids: Sequence[str], groups: Sequence[str]) -> Change:
        """Look at these no longer; ``*`` takes back ``*``. What was not looked at is left out of the answer."""
        ids, everything = parse_device_ids(device_ids, self._hub.settings.max_device_ids)
        names = frozenset(name.strip() for text in groups for name in text.split(",")) & self._groups
        gone = ids & self._device_ids
        shown = sorted(gone) + ([EVERYTHING] if everything and self._everything else [])
        self._device_ids -= ids
        self._groups -= names
        self._everything &= not everything
        self._apply()
        return Change(tuple(shown), tuple(sorted(names)), (), frozenset())

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
        self._hub.broker.snapshot(self._subscription, sorted(exact), patterns)

    def data(self) -> dict[str, object]:
        shown = sorted(self._device_ids) + ([EVERYTHING] if self._everything else [])
        return {"device_ids": shown, "groups": sorted(self._groups)}

    def _apply(self) -> None:
        selectors: set[str] = set(self._device_ids)
        if self._everything and self._allowed is not None:
            selectors |= self._allowed.selectors()
        selectors.update(self._members(self._groups))
        shared = self._hub.broker.select(self._subscription, frozenset(selectors))
        if shared == self._device_ids:
            self._device_ids = shared

    def _members(self, groups: Iterable[str]) -> Iterable[str]:
        for name in groups:
            yield from self._hub.groups.get(name, ())
