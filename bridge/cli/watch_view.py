"""What ``telemetry-bridge watch`` shows: events in, lines of text out. Pure: no clock, no I/O.

Everything that a device or a server says is escaped before it becomes a line: a terminal obeys control
characters ("ANSI injection"), and a pipe of JSON lines must hold one object per line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from bridge.cli.terminal import escape, fit, text_width
from bridge.protocol.closing import CloseReason

MAX_ROWS: Final = 10_000
"""Devices remembered; the one that was silent longest is forgotten first."""
STALE_SECONDS: Final = 30.0
"""A device that was silent for longer is shown dimmed."""
MAX_CELL_COLUMNS: Final = 32
"""Width of the device column at most; half of MAX_DEVICE_ID_CHARS leaves room for the rest in 80 columns."""
DEFAULT_HEARTBEAT_SECONDS: Final = 25.0
"""Where ``hello`` names none: the server's default."""

_NAMES = {
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "long", "longitude"),
    "speed": ("speed", "speed_kmh", "vel", "spd", "sog"),
    "heading": ("heading", "heading_deg", "hdg", "cog", "course", "direction", "bearing"),
}
"""Column → the keys under which devices publish it, in lower case. Shown as published: no unit is converted."""
_DIGITS = {"lat": 5, "lon": 5, "speed": 1, "heading": 0}
"""Decimal places: 0.00001° is a metre."""
_FINAL_CODES = frozenset(reason.code for reason in CloseReason if reason.reconnect == "no")


class Verdict(Enum):
    """What a client does after its connection ended."""

    AGAIN = "again"
    LATER = "later"
    STOP = "stop"


def verdict(code: int | None, *, expired: bool) -> Verdict:
    """What the close code asks for. ``code`` is None where the connection broke without a Close frame.

    ``expired`` tells the 1000 after an ``expired`` event, which needs a new token, from a goodbye.
    """
    if expired or code in _FINAL_CODES:
        return Verdict.STOP
    return Verdict.LATER if code == CloseReason.SLOW.code else Verdict.AGAIN


def columns_of(payload: object) -> dict[str, float]:
    """The numbers for lat, lon, speed and heading in a payload, at its top or one object below."""
    found: dict[str, float] = {}
    for key, value in _pairs(payload):
        name = key.rpartition(".")[2].lower()
        for column, names in _NAMES.items():
            if name in names and column not in found and (number := _number(value)) is not None:
                found[column] = number
    return found


def _pairs(payload: object) -> Iterator[tuple[str, object]]:
    if isinstance(payload, Mapping):
        yield from payload.items()
        for value in payload.values():
            if isinstance(value, Mapping):
                yield from value.items()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@dataclass(slots=True)
class Row:
    """One device: its last numbers, when they came (the caller's clock) and how many messages did."""

    columns: dict[str, float]
    arrived: float
    replay: bool
    messages: int = 0


class WatchState:
    """All that is known of one watched stream, over any number of connections."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.messages = self.skipped = 0
        self.connection = "connecting"
        self.upstream_up = True
        self.heartbeat_seconds = DEFAULT_HEARTBEAT_SECONDS
        self.expired = False
        self.error = ""
        self.note = ""

    def begin_connection(self) -> None:
        """Forget what belonged to the last connection; the devices stay on the screen."""
        self.expired, self.error, self.upstream_up = False, "", True
        self.heartbeat_seconds = DEFAULT_HEARTBEAT_SECONDS

    @property
    def token_expired(self) -> bool:
        """Whether a new token is what is missing: it ended in the stream, or had before."""
        return self.expired or self.error.startswith("token_expired")

    def take(self, event: Mapping[str, Any], now: float) -> str:
        """Take one event in. Returns the line to show, escaped, or an empty string."""
        kind, data = event.get("event"), event.get("data")
        if kind == "message":
            self._message(event, now)
            return ""
        if not isinstance(data, Mapping):
            return ""
        line = self._control(str(kind), data)
        return escape(line)

    def _message(self, event: Mapping[str, Any], now: float) -> None:
        device_id = str(event.get("device_id", ""))
        row = self.rows.pop(device_id, None) or Row({}, now, replay=True)
        row.columns.update(columns_of(event.get("data")))
        row.arrived, row.replay = now, event.get("replay") is True
        row.messages += 1
        self.messages += 1
        self.rows[device_id] = row  # at the end: the first row is the one that was silent longest
        if len(self.rows) > MAX_ROWS:
            del self.rows[next(iter(self.rows))]

    def _control(self, kind: str, data: Mapping[str, Any]) -> str:
        if kind == "hello":
            seconds = _number(data.get("heartbeat_seconds"))
            self.heartbeat_seconds = seconds if seconds and seconds > 0 else DEFAULT_HEARTBEAT_SECONDS
        elif kind == "subscribed" and data.get("refused"):
            return "refused: " + ", ".join(map(str, data["refused"]))
        elif kind == "gap":
            count, dropped, conflated = (int(_number(data.get(k)) or 0) for k in ("count", "dropped", "conflated"))
            self.skipped += count
            return f"gap: {count} messages skipped ({dropped} dropped, {conflated} replaced by newer ones)"
        elif kind == "upstream":
            self.upstream_up = data.get("state") == "up"
            return f"the bridge {'has' if self.upstream_up else 'lost'} its MQTT broker"
        elif kind == "expiring":
            return f"the token expires at {data.get('expires_at')}"
        elif kind == "expired":
            self.expired = True
        elif kind in ("error", "revoked", "notice"):
            line = ": ".join(str(data[key]) for key in ("code", "message", "text") if data.get(key)) or kind
            if kind != "notice":
                self.error = escape(line)
            return f"{kind}: {line}"
        return ""


def render(state: WatchState, now: float, place: str, size: tuple[int, int], *, color: bool) -> list[str]:
    """The screen as lines of at most ``size`` = (columns, lines). ``color`` allows SGR codes."""
    width, height = size
    facts = [
        state.connection,
        place,
        f"{len(state.rows):,} devices",
        f"{state.messages:,} messages",
        f"{state.skipped:,} skipped",
        "MQTT up" if state.upstream_up else "MQTT DOWN",
    ]
    lines = [_style("  ".join(facts), width, "1" if color else ""), _style(state.note, width, "33" if color else "")]
    rows = sorted(state.rows.items())
    room = max(0, height - 3)
    cut = len(rows) > room
    shown = rows[: max(0, room - 1)] if cut else rows
    names = [fit(escape(device_id), MAX_CELL_COLUMNS) for device_id, _ in shown]
    device_width = max([len("device"), *map(text_width, names)])
    header = _line("device", device_width, ("age", "lat", "lon", "speed", "heading", "messages"))
    lines.append(_style(header, width, "4" if color else ""))
    for name, (_, row) in zip(names, shown, strict=True):
        numbers = [_cell(row.columns, column, digits) for column, digits in _DIGITS.items()]
        text = _line(name, device_width, (_age(row, now), *numbers, f"{row.messages:,}"))
        lines.append(_style(text, width, "2" if color and now - row.arrived > STALE_SECONDS else ""))
    if cut:
        lines.append(
            _style(f"… and {len(rows) - len(shown):,} more: enlarge the window or name fewer devices", width, "")
        )
    return lines[:height]


def _age(row: Row, now: float) -> str:
    """How long ago the message came; "replay" for a last-known value, whose age is not known."""
    if row.replay:
        return "replay"
    seconds = max(0.0, now - row.arrived)
    for unit, length in (("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _line(device: str, device_width: int, cells: Sequence[str]) -> str:
    padded = (cell.rjust(columns) for cell, columns in zip(cells, (6, 10, 11, 6, 7, 8), strict=True))
    return "  ".join((device + " " * (device_width - text_width(device)), *padded))


def _cell(cells: Mapping[str, float], column: str, digits: int) -> str:
    return f"{cells[column]:.{digits}f}" if column in cells else "-"


def _style(text: str, width: int, code: str) -> str:
    fitted = fit(text, width)
    return f"\x1b[{code}m{fitted}\x1b[0m" if code else fitted
