"""Which cohorts want a device by pattern. Looking one device up costs the same for ten patterns and ten thousand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bridge.core.device_ids import pattern_matcher
from bridge.fanout.cohort import Cohort

Matcher = Callable[[str], object]


class PatternIndex:
    """Patterns of the form ``prefix*``, nearly all there are, by their prefix; the others in a list.

    ``version`` changes with every change: what was looked up under another one is to be looked up again.
    """

    __slots__ = ("_lengths", "_others", "_prefixes", "version")

    def __init__(self) -> None:
        self._prefixes: dict[str, dict[Cohort, None]] = {}
        self._lengths: Counter[int] = Counter()
        self._others: dict[str, tuple[Matcher, dict[Cohort, None]]] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._prefixes) + len(self._others)

    def add(self, pattern: str, cohort: Cohort) -> None:
        """From now on ``cohort`` wants what ``pattern`` covers."""
        prefix = _prefix(pattern)
        self.version += 1
        if prefix is None:
            self._others.setdefault(pattern, (pattern_matcher(pattern), {}))[1][cohort] = None
            return
        cohorts = self._prefixes.get(prefix)
        if cohorts is None:
            cohorts = self._prefixes[prefix] = {}
            self._lengths[len(prefix)] += 1
        cohorts[cohort] = None

    def discard(self, pattern: str, cohort: Cohort) -> None:
        """Undo one ``add``."""
        prefix = _prefix(pattern)
        self.version += 1
        if prefix is None:
            del self._others[pattern][1][cohort]
            if not self._others[pattern][1]:
                del self._others[pattern]
            return
        del self._prefixes[prefix][cohort]
        if not self._prefixes[prefix]:
            del self._prefixes[prefix]
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]

    def collect(self, device_id: str, into: dict[Cohort, None]) -> None:
        """Add the cohorts that want ``device_id`` by pattern."""
        for length in self._lengths:
            into.update(self._prefixes.get(device_id[:length], {}))
        for matches, cohorts in self._others.values():
            if matches(device_id):
                into.update(cohorts)


def _prefix(pattern: str) -> str | None:
    """``truck-`` of ``truck-*``; None when the star is not the end or there are several."""
    return pattern[:-1] if pattern.index("*") == len(pattern) - 1 else None
