"""One share as it is stored, and what it is at a moment. Pure values: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from share.model.grant import Grant


class EndReason(StrEnum):
    """Why a share ended before its time."""

    REVOKED = "revoked"
    ARRIVED = "arrived"


class Status(StrEnum):
    """What a share is at a moment."""

    UPCOMING = "upcoming"
    ACTIVE = "active"
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Share:
    """One share. Times are wall-clock UTC in seconds since the epoch."""

    id: str
    """Public handle for operators; opens nothing."""
    code_hash: str
    """SHA-256 of the link's code, in hex. The code itself is nowhere but in the link."""
    owner: str
    """Subject of the token that made it."""
    created_at: float
    starts_at: float
    ends_at: float
    grant: Grant
    """``grant.starts_at`` is never None here: it equals ``starts_at``."""
    label: str = ""
    password_hash: str | None = None
    """Argon2id in PHC form."""
    max_viewers: int | None = None
    """Streams at the same time; None leaves it to the server's own cap."""
    ended_at: float | None = None
    end_reason: EndReason | None = None
    viewers_total: int = 0
    """Streams opened since it was made."""

    def status(self, now: float) -> Status:
        """What it is at ``now`` (wall-clock)."""
        if self.end_reason is EndReason.REVOKED:
            return Status.REVOKED
        if self.ended_at is not None or now >= self.ends_at:
            return Status.ENDED
        return Status.UPCOMING if now < self.starts_at else Status.ACTIVE

    def has_ended(self, now: float) -> bool:
        """Whether it has ended or was revoked by ``now``. It never opens again."""
        return self.status(now) in (Status.ENDED, Status.REVOKED)
