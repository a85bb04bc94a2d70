"""What ``telemetry-bridge share`` prints: a server's answers → lines for people. Pure: no clock, no I/O.

Everything that a server sends is escaped before it becomes a line, and an answer that lacks something is shown without
it. Times are shown in the local zone, which is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import orjson

from bridge.cli.terminal import escape, fit, one_line, text_width
from bridge.core.times import parse_time

MAX_CELL_COLUMNS: Final = 32
"""Width of the columns that people fill at most: the table of a fleet's shares fits 120 columns."""
UNKNOWN: Final = "-"
"""Shown for what is missing or cannot be read."""

ShareBody = Mapping[str, Any]
"""One share as the server answers it."""


def as_json(answer: object) -> str:
    """The answer as JSON on one line that is safe for a terminal."""
    return one_line(orjson.dumps(answer).decode())


def local_time(value: object, zone: tzinfo | None = None) -> str:
    """An RFC 3339 time as ``2026-11-22 19:00 CET``, in ``zone`` or that of this machine."""
    try:
        return datetime.fromtimestamp(parse_time(value), UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
    except (ValueError, OverflowError):
        return UNKNOWN if value is None else escape(str(value))


def share_id_of(share: ShareBody) -> str:
    """The id, ready to be pasted behind a command."""
    return _text(share.get("id")) or UNKNOWN


def devices_of(share: ShareBody) -> str:
    """``A (Van 1), B``: the ids, with the names that the viewers see where they differ."""
    aliases = _mapping(share.get("aliases"))
    shown = []
    for device_id in _texts(share.get("device_ids")):
        alias = _text(aliases.get(device_id))
        shown.append(f"{escape(device_id)} ({alias})" if alias and alias != escape(device_id) else escape(device_id))
    return ", ".join(shown) or UNKNOWN


def viewers_now(share: ShareBody) -> int | None:
    """Streams that are open; None where the server did not say."""
    now = _mapping(share.get("viewers")).get("now")
    return now if type(now) is int else None


def viewers(number: int) -> str:
    """``1 viewer``, ``3 viewers``."""
    return f"{number:,} viewer{'' if number == 1 else 's'}"


def summary(share: ShareBody, zone: tzinfo | None = None) -> list[str]:
    """Two lines on a share that was just made: what, until when, and how to take it back."""
    upcoming = f" from {local_time(share.get('starts_at'), zone)}" if share.get("status") == "upcoming" else ""
    extra = "; the link needs the password" if share.get("has_password") is True else ""
    name = share_id_of(share)
    return [
        f"shared {devices_of(share)}{upcoming} until {local_time(share.get('expires_at'), zone)}, id {name}{extra}",
        f"end it early: telemetry-bridge share revoke {name}",
    ]


def table(shares: Sequence[ShareBody], zone: tzinfo | None = None) -> list[str]:
    """A line for each share under a header. Columns are as wide as they need, to a limit."""
    rows = [("ID", "STATUS", "UNTIL", "VIEWERS", "LABEL", "DEVICES")]
    for share in shares:
        aliases = ", ".join(_texts(list(_mapping(share.get("aliases")).values())))
        label = _text(share.get("label")) or escape(aliases) or UNKNOWN
        total = _mapping(share.get("viewers")).get("total")
        now = viewers_now(share)
        row = (
            share_id_of(share),
            _text(share.get("status")) or UNKNOWN,
            local_time(share.get("ended_at") or share.get("expires_at"), zone),
            f"{now}/{total}" if now is not None and type(total) is int else UNKNOWN,
            fit(label, MAX_CELL_COLUMNS),
            fit(escape(", ".join(_texts(share.get("device_ids")))) or UNKNOWN, MAX_CELL_COLUMNS),
        )
        rows.append(row)
    widths = [max(map(text_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - text_width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def details(share: ShareBody, zone: tzinfo | None = None) -> list[str]:
    """One share, a line for each fact."""
    counts = _mapping(share.get("viewers"))
    limit = share.get("max_viewers")
    ended = _text(share.get("end_reason"))
    facts = {
        "id": share_id_of(share),
        "status": _text(share.get("status")),
        "label": _text(share.get("label")),
        "devices": devices_of(share),
        "owner": _text(share.get("owner")),
        "created": local_time(share.get("created_at"), zone),
        "from": local_time(share.get("starts_at"), zone),
        "until": local_time(share.get("expires_at"), zone),
        "ended": local_time(share.get("ended_at"), zone) + (f" ({ended})" if ended else ""),
        "viewers": f"{_number(counts.get('now'))} now, {_number(counts.get('total'))} in all"
        + (f", {_number(limit)} at most" if limit is not None else ""),
        "password": "yes" if share.get("has_password") is True else "no",
        "shows": ", ".join(["position", *map(escape, _texts(share.get("fields")))]),
        "precision": f"squares of {_number(share['precision_m'])} m" if share.get("precision_m") else "exact",
        "delay": f"{_number(share['delay_s'])} s" if share.get("delay_s") else "none",
        "trail": f"{_number(share.get('trail'))} positions",
        "destination": _destination(share),
    }
    return [f"{name + ':':<13}{value}" for name, value in facts.items() if value and value != UNKNOWN]


def _destination(share: ShareBody) -> str:
    place = _mapping(share.get("destination"))
    if not place:
        return ""
    name = _text(place.get("name"))
    end = "; ends on arrival" if share.get("end_on_arrival") is True else ""
    where = f"{_number(place.get('lat'))},{_number(place.get('lon'))} within {_number(place.get('radius_m'))} m"
    return (f"{name} ({where})" if name else where) + end


def _text(value: object) -> str:
    return escape(value) if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    """The texts of a list, not escaped yet."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> str:
    """``500`` for 500.0; ``-`` for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNKNOWN
    return f"{value:.10g}"
