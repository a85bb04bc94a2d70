"""The names that the public sees in the place of device ids. Pure: no I/O, no clock."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count

from share.model.limits import MAX_DEVICES


def folded(text: str) -> str:
    """``text`` without differences that a reader overlooks: case and width of letters."""
    if text.isascii():  # the same, in a tenth of the time: a token of another service has this done for each device
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def discloses(text: str, device_ids: Iterable[str]) -> bool:
    """Whether one of the ids stands in ``text`` as a whole word, whatever the case or width of its letters."""
    shown = folded(text)
    return any(_stands_in(shown, folded(device_id)) for device_id in device_ids)


def _stands_in(text: str, word: str) -> bool:
    # Asked first whether it is there at all: to compile a pattern for each device id takes 100 µs.
    return word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def neutral_aliases(device_ids: Sequence[str], given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """``(device_id, alias)`` for each: the given one, else "Device" for one alone and "Device 1", … for several.

    A name that is taken, or that would disclose an id (a device may be called ``2``), is skipped.
    """
    taken = {folded(alias) for alias in given.values()}
    ids = [folded(device_id) for device_id in device_ids]
    names = ((name, folded(name)) for name in _names(alone=len(device_ids) == 1))
    free = (name for name, text in names if text not in taken and not any(_stands_in(text, word) for word in ids))
    return tuple((device_id, given[device_id] if device_id in given else next(free)) for device_id in device_ids)


def _names(alone: bool) -> Iterator[str]:
    # In the second run each name is one word, so an id rules out only the one that it is equal to: they never run out.
    numbered = (f"Device {number}" for number in range(1, 3 * MAX_DEVICES))
    return chain(("Device",) if alone else (), numbered, (f"Device{number}" for number in count(1)))
