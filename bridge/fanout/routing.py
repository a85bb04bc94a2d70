"""device_id → the cohorts that want it."""

from __future__ import annotations

from bridge.core.limits import MAX_KNOWN_DEVICES
from bridge.fanout.cohort import Cohort
from bridge.fanout.patterns import PatternIndex

Route = tuple[int, tuple[Cohort, ...]]
"""The cohorts that want a device, and the version of the patterns for which that is true."""


class Routing:
    """Who wants what, by id and by pattern, and a memory of what was looked up.

    ``routes`` is for the broker's inner loop: an entry counts while its version is ``patterns.version``.
    """

    __slots__ = ("_max_routes", "exact", "patterns", "routes")

    def __init__(self, max_routes: int = MAX_KNOWN_DEVICES) -> None:
        """``max_routes`` are remembered, wanted or not; when there are more, all are forgotten."""
        self._max_routes = max_routes
        self.exact: dict[str, dict[Cohort, None]] = {}
        self.patterns = PatternIndex()
        self.routes: dict[str, Route] = {}

    def __len__(self) -> int:
        """Different ids and patterns that somebody wants."""
        return len(self.exact) + len(self.patterns)

    def add(self, cohort: Cohort) -> None:
        """From now on ``cohort`` wants what its selectors cover."""
        for selector in cohort.selection.device_ids:
            if "*" in selector:
                self.patterns.add(selector, cohort)
            else:
                self.exact.setdefault(selector, {})[cohort] = None
                self.routes.pop(selector, None)

    def discard(self, cohort: Cohort) -> None:
        """Undo one ``add``."""
        for selector in cohort.selection.device_ids:
            if "*" in selector:
                self.patterns.discard(selector, cohort)
                if not self.patterns:
                    self.routes.clear()
            else:
                del self.exact[selector][cohort]
                if not self.exact[selector]:
                    del self.exact[selector]
                self.routes.pop(selector, None)

    def of(self, device_id: str) -> tuple[Cohort, ...]:
        """The cohorts that want ``device_id``, each once. Remembered until a selection changes."""
        route = self.routes.get(device_id)
        if route is not None and route[0] == self.patterns.version:
            return route[1]
        cohorts = dict(self.exact.get(device_id, ()))
        self.patterns.collect(device_id, cohorts)
        if len(self.routes) >= self._max_routes:
            self.routes.clear()
        found = tuple(cohorts)
        self.routes[device_id] = (self.patterns.version, found)
        return found

    def devices(self) -> int:
        """Devices that somebody selects by id, and those heard lately that a pattern covers. Looks at each of them."""
        version = self.patterns.version
        heard = (name for name, (seen, cohorts) in self.routes.items() if cohorts and seen == version)
        return len(self.exact) + sum(name not in self.exact for name in heard)
