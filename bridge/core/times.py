"""Times as text and as seconds since the epoch. Pure: no clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

_MICROSECONDS: Final = 1_000_000

_FIRST_TIME: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * _MICROSECONDS

_LAST_TIME: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * _MICROSECONDS
"""Beyond these a time cannot be written for a client."""

# RFC 3339 section 5.6, "date-time", in two parts. [0-9] and not \d, which takes the digits of every script.
_SECOND: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")
_SECOND_CHARS: Final = len("2030-01-31T12:00:00")
_REST: Final = re.compile(r"(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))")
_REMEMBERED: Final = 4096
"""Seconds, and as many fractions with their zone: what is sent now shares few of them. 1 MiB in all, at most."""
_NO_TIME: Final = "is not an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z"


def parse_time(value: object) -> float:
    """An RFC 3339 date-time with its zone, as seconds since the epoch; ValueError for all else.

    Digits after the microsecond are dropped, which never prolongs a token. Leap seconds (``:60``) are
    refused: POSIX time has none. 0.3 µs where the second was met before, 2 µs where it was not
    (``python -m timeit``, CPython 3.11).
    """
    text = value if isinstance(value, str) else ""
    at = _rest(text[_SECOND_CHARS:]) + _second(text[:_SECOND_CHARS])
    if not _FIRST_TIME <= at <= _LAST_TIME:  # such as the first of the year 1, an hour east of UTC
        raise ValueError("is not within the years 1 to 9999 of UTC")
    return at / _MICROSECONDS


@lru_cache(_REMEMBERED)
def _second(text: str) -> int:
    """``2030-01-31T12:00:00`` in UTC, in microseconds since the epoch."""
    if _SECOND.fullmatch(text) is None:
        raise ValueError(_NO_TIME)
    try:
        at = datetime.fromisoformat(text.upper()).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("is not a calendar date") from None
    return int(at.timestamp()) * _MICROSECONDS


@lru_cache(_REMEMBERED)
def _rest(text: str) -> int:
    """``.123+01:00``, in microseconds: the fraction less the zone's offset from UTC."""
    found = _REST.fullmatch(text)
    if found is None:
        raise ValueError(_NO_TIME)
    fraction, sign, hours, minutes = found.groups()
    offset = (int(hours) * 60 + int(minutes)) * 60 * _MICROSECONDS if sign else 0
    return int(fraction[:6].ljust(6, "0") if fraction else 0) + (offset if sign == "-" else -offset)


def timestamp(at: float) -> str:
    """``at`` (seconds since the epoch) as RFC 3339 in UTC, cut to milliseconds: ``2030-01-31T12:00:00.000Z``."""
    second, microseconds = divmod(round(at * _MICROSECONDS), _MICROSECONDS)
    return f"{_second_text(second)}.{microseconds // 1000:03d}Z"


@lru_cache(_REMEMBERED)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


class Timer(Protocol):
    """What ``call_later`` of a loop returns."""

    def cancel(self) -> None:
        """The callback will not run. Idempotent."""
