"""Limits of share/ that no setting changes. Each has a unit and a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86_400.0

# --- what names and opens a share ---------------------------------------------------------------------
CODE_BYTES: Final = 16
"""Random bytes of a link's code: 128 bits cannot be guessed at any rate (RFC 6749 section 10.10 asks for as much)."""
ID_BYTES: Final = 6
"""Random bytes of a share's id: short for people, since it opens nothing; two of a million shares rarely agree."""

# --- what an operator may ask for ---------------------------------------------------------------------
MAX_BODY_BYTES: Final = 16 * 1024
"""One request's body. The largest honest one, 20 devices with aliases, is below 4 KiB."""
MAX_DEVICES: Final = 20
"""Devices of one share: a convoy. A fleet is watched with a token, not with a public link."""
MAX_LABEL_CHARS: Final = 80
"""Length of a label, and of a destination's name: one line at the top of a phone's screen."""
MAX_ALIAS_CHARS: Final = 40
"""Length of an alias: it stands beside a marker on the map, and in every message."""
MAX_PASSWORD_CHARS: Final = 128
"""Length of a password: four sentences. Longer ones only make the hashing of wrong ones costly."""
MAX_MAX_VIEWERS: Final = 1_000_000
"""Of ``max_viewers``: above what one machine serves, within every database's INTEGER."""
MAX_TRAIL_IN_ALL: Final = 2000
"""Past positions of all devices of one share: 300 KiB in memory, and as much for each viewer who joins."""
MAX_TRAIL: Final = 500
"""Past positions of each device shown to a new viewer: 40 minutes at one in 5 s, and 50 KiB on the wire."""
DEFAULT_TRAIL: Final = 100
"""The trail of a share by default: the last minutes, enough to see where it comes from."""
MAX_DELAY_SECONDS: Final = 3600.0
"""Of ``delay_s``: what waits is kept in memory. An hour hides where someone is now."""
MIN_PRECISION_M: Final = 10.0
"""The finest grid, metres: a receiver's own error is about as large."""
MAX_PRECISION_M: Final = 100_000.0
"""The coarsest grid, metres: "somewhere in this region"."""
MIN_RADIUS_M: Final = 20.0
"""Of a destination, metres: below it a receiver's error keeps a parked car from arriving."""
MAX_RADIUS_M: Final = 10_000.0
"""Of a destination, metres: a town."""
DEFAULT_RADIUS_M: Final = 100.0
"""Of a destination, metres: the street and the car park in front of the door."""
MAX_STARTED_BEFORE_SECONDS: Final = 24 * 60 * 60.0
"""How far ``starts_at`` may lie in the past: today's trail may be shown, a device's history may not."""
DEFAULT_PAGE: Final = 50
"""Shares in one answer to a list by default: a screen or two."""
MAX_PAGE: Final = 200
"""Shares in one answer to a list: about 200 KiB of JSON, 2 ms of the loop."""

# --- what is written behind ---------------------------------------------------------------------------
VIEWERS_SECONDS: Final = 5.0
"""Between two writes of the counts of viewers. A crash loses the counts of so long, and nothing else."""
ARRIVALS_SECONDS: Final = 5.0
"""Between two attempts to store an end by arrival, which itself takes effect at once."""
PURGE_SECONDS: Final = 3600.0
"""Between two removals of shares whose retention has passed: it is in days, so an hour is exact enough."""


# --- what tests hand in otherwise ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShareLimits:
    """Limits of one process that no setting changes. Seconds, where no unit is named."""

    body_seconds: float = 10.0
    """For the body of a request to arrive."""
    wrong_passwords_per_minute: float = 10.0
    """Of one share, from whatever address: a PIN of six digits lasts weeks. Whoever has the link but not the password
    can lock others out for a minute at a time; open streams go on until their token expires."""
    max_waiting_checks: int = 16
    """Passwords of one share that wait for one another, 20 ms each: a third of a second, and one share cannot fill the
    queue of all."""
    max_lookups: int = 32
    """Codes that are looked up in the database at the same time: strangers must leave room there for a revocation."""
    max_remembered_addresses: int = 10_000
    """Buckets of client addresses, 200 bytes each. The one that was quiet longest is forgotten first, and so begins
    anew. To make use of that takes 10,000 addresses, each of which could have called at full rate."""
    password_memory_kib: int = 19 * 1024
    """With two iterations and one lane the minimum of OWASP's Password Storage Cheat Sheet: m=19456 (19 MiB)."""
    max_waiting_passwords: int = 32
    """Hashes and checks that may wait or run: a second of work for two threads on a small machine."""
    max_waiting_changes: int = 100
    """Changes and revocations that wait for one another: at 1 ms each none waits; more is a stuck database."""
    max_rooms_elsewhere: int = 1000
    """Different grants of tokens minted by other services, watched now or lately. Each costs 10 µs for each message of
    its devices; a service that puts the time of each token into ``starts_at`` reaches this limit."""
    room_linger_seconds: float = 60.0
    """How long such a room stays after its last viewer has left: to change networks takes a few seconds."""
    viewers_seconds: float = VIEWERS_SECONDS
    close_seconds: float = 2.0
    """For what is not stored yet at the end: each try may wait for a lock, and the process is to be gone on time."""
