"""What a share permits. Pure values: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

FieldName = Literal["speed_kmh", "heading_deg", "altitude_m", "accuracy_m", "time"]
FIELDS: Final[tuple[FieldName, ...]] = get_args(FieldName)
"""What a share may show beside ``lat`` and ``lon``, in the order in which it is shown."""
DEFAULT_FIELDS: Final[frozenset[FieldName]] = frozenset({"speed_kmh", "heading_deg", "accuracy_m", "time"})
"""What a share shows by default: what the page needs to say where to, how fast and when."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the journey goes, WGS 84 degrees. A position within ``radius_m`` metres of it has arrived."""

    lat: float
    lon: float
    radius_m: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the viewers of a share may see. Hashable: viewers with equal grants are served together.

    Nothing here changes while the share lives; how long it lives, and what it is called, is in ``Share``.
    """

    aliases: tuple[tuple[str, str], ...]
    """``(device_id, alias)`` for each device, both unique. The public sees aliases only."""
    starts_at: float | None = None
    """Wall-clock seconds since the epoch: nothing that was received or measured earlier is shown. None: no bound."""
    fields: frozenset[str] = DEFAULT_FIELDS
    """Which of FIELDS are shown."""
    precision_m: float = 0.0
    """Positions are moved to the middle of a square of this many metres on a fixed grid; 0 leaves them exact."""
    delay_s: float = 0.0
    """Nothing is shown earlier than this many seconds after it was received."""
    trail: int = 0
    """Past positions of each device that a new viewer gets, besides the last one."""
    destination: Destination | None = None
    end_on_arrival: bool = False
    """Whether the share ends when the position behind what is shown, not moved to a grid, is within the radius."""

    @property
    def device_ids(self) -> tuple[str, ...]:
        """Of all devices, in the order of ``aliases``."""
        return tuple(device_id for device_id, _ in self.aliases)
