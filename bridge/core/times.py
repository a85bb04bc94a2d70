"""Times as text and as seconds since the epoch. Pure: no clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, Protocol

_FIRST_TIME: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()

_LAST_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""Beyond these a time cannot be written for a client."""

# RFC 3339 section 5.6, "date-time". [0-9] and not \d, which takes the digits of every script.
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


def parse_time(value: object) -> float:
    """An RFC 3339 date-time with its zone, as seconds since the epoch; ValueError for all else.

    Digits after the microsecond are dropped, which never prolongs a token. Leap seconds (``:60``) are
    refused: POSIX time has none.
    """
    if not isinstance(value, str) or _DATE_TIME.fullmatch(value) is None:
        raise ValueError("is not an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z")
    try:
        at = datetime.fromisoformat(value.upper()).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("is not a calendar date") from None
    if not _FIRST_TIME <= at <= _LAST_TIME:  # such as the first of the year 1, an hour east of UTC
        raise ValueError("is not within the years 1 to 9999 of UTC")
    return at


def timestamp(at: float) -> str:
    """``at`` (seconds since the epoch) as RFC 3339 in UTC, cut to milliseconds: ``2030-01-31T12:00:00.000Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Timer(Protocol):
    """What ``call_later`` of a loop returns."""

    def cancel(self) -> None:
        """The callback will not run. Idempotent."""
