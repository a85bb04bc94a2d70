"""Which devices: ids, patterns and groups. Pure: no I/O, no clock.

A *device_id* names one device. A *pattern* is a device_id in which ``*`` stands for any run of
characters; patterns stand in tokens and in the groups file, never in a client's request (there ``*``
alone means "all that my token allows").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from bridge.core.errors import CommandError
from bridge.core.limits import MAX_DEVICE_ID_CHARS

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f+#*/\\,\u2028\u2029]|\s\Z|\A\s|\.\.")
EVERYTHING = "*"
DEVICE_ID_RULE = f"1 to {MAX_DEVICE_ID_CHARS} printable characters without + # * / \\ or a comma, and no .."
"""What ``is_device_id`` asks, for the message that an id is not valid."""

Groups = Mapping[str, frozenset[str]]
"""Group name → the ids and patterns of its devices, as read from the groups file."""


def is_device_id(text: str) -> bool:
    """Whether ``text`` can name a device.

    1 to 64 characters, in Unicode normal form C, no control character, none of ``+ # * / \\ ,`` and no
    ``..``: MQTT wildcards (MQTT 5.0 section 4.7.1), our own, the list separator and path tricks.
    """
    return (
        0 < len(text) <= MAX_DEVICE_ID_CHARS
        and _FORBIDDEN.search(text) is None
        and (text.isascii() or unicodedata.is_normalized("NFC", text))
        and text.isprintable()
    )


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a device_id or a pattern of one."""
    return text == EVERYTHING or is_device_id(text.replace("*", "x"))


def parse_device_ids(texts: Iterable[str], limit: int) -> tuple[frozenset[str], bool]:
    """The device ids that a client asks for, and whether ``*`` was among them.

    Each text may hold several ids with commas between; blanks around an id and empty items are
    forgiven, text is brought to normal form C. More than ``limit`` different ids, or an id that cannot
    name a device, is a CommandError that gives the position (from 1) and never echoes the id.
    """
    ids: set[str] = set()
    everything = False
    position = 0
    for text in texts:
        for item in text.split(","):
            position += 1
            device_id = unicodedata.normalize("NFC", item.strip())
            if not device_id:
                continue
            if device_id == EVERYTHING:
                everything = True
                continue
            if not is_device_id(device_id):
                raise CommandError(
                    "invalid_device_id",
                    f"device id number {position} is not valid: use {DEVICE_ID_RULE}",
                )
            ids.add(device_id)
            if len(ids) > limit:
                raise CommandError("too_many_device_ids", f"at most {limit} device ids on one socket; use a group or *")
    return frozenset(ids), everything


@lru_cache(maxsize=4096)
def pattern_matcher(pattern: str) -> Callable[[str], object]:
    """A function that is truthy for the device ids that ``pattern`` covers."""
    if pattern == EVERYTHING:
        return bool
    if pattern.count("*") == 1 and pattern.endswith("*"):
        prefix = pattern[:-1]
        return lambda device_id: device_id.startswith(prefix)
    if "*" not in pattern:
        return lambda device_id: device_id == pattern
    first, *middle, last = re.split(r"\*+", pattern)
    # Atomic groups: the first place where a piece fits is as good as any later one, so a pattern such as
    # *a*a*a*b costs no more than its length times the id's, instead of years.
    pieces = "".join(f"(?>.*?{re.escape(piece)})" for piece in middle)
    return re.compile(f"{re.escape(first)}{pieces}.*{re.escape(last)}", re.DOTALL).fullmatch


class Allowed:
    """The devices that one principal may see: a fixed set of ids and patterns, and those of its groups.

    Immutable after construction. An unknown device and a forbidden one cannot be distinguished: the only
    question is ``device_id in allowed``. A group is referred to and never copied: however many
    principals it has, it is in memory once.
    """

    __slots__ = ("_groups", "_ids", "_matchers", "_patterns", "_prefixes")

    def __init__(self, entries: Iterable[str], groups: Iterable[Allowed] = ()) -> None:
        """``groups`` are the members of each group, made once for all who have it."""
        entries = frozenset(entries)
        patterns = frozenset(entry for entry in entries if "*" in entry)
        if EVERYTHING in patterns:
            entries = patterns = frozenset((EVERYTHING,))
        self._ids = entries - patterns if patterns else entries
        self._patterns = patterns
        # Nearly all patterns are a prefix and a star, and str.startswith goes through 10,000 of those in 0.1 ms.
        self._prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.find("*") == len(pattern) - 1)
        self._matchers = tuple(pattern_matcher(pattern) for pattern in patterns if pattern.find("*") < len(pattern) - 1)
        self._groups = tuple(groups)

    def __contains__(self, device_id: str) -> bool:
        return (
            device_id in self._ids
            or device_id.startswith(self._prefixes)
            or any(matches(device_id) for matches in self._matchers)
            or any(device_id in group for group in self._groups)
        )

    def selectors(self) -> frozenset[str]:
        """All ids and patterns: what ``*`` in a client's request stands for. A new set where groups take part."""
        own = self._ids | self._patterns if self._patterns else self._ids
        if not self._groups:
            return own
        selectors = own.union(*(group.selectors() for group in self._groups))
        return frozenset((EVERYTHING,)) if EVERYTHING in selectors else selectors
