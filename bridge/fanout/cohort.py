"""Sockets with the same selection, served together.

All that differs between the sockets of a cohort is where the bytes go, so a message costs one append for
the whole cohort, one join per turn, and then one write per socket: 50 dashboards that watch the same
200 devices are one cohort; 1,000 people who watch one bus are another.
"""

from __future__ import annotations

from bridge.core.limits import CHUNK_BYTES
from bridge.fanout.subscription import Entry, Subscription


class Cohort:
    """The members, and what the current turn brings them. Lives only while it has members."""

    __slots__ = ("entries", "members", "selectors", "written")

    def __init__(self, selectors: frozenset[str]) -> None:
        self.selectors = selectors
        self.members: dict[Subscription, None] = {}
        self.entries: list[Entry] = []
        self.written = 0

    def count(self) -> int:
        """Messages written to each member of this cohort so far."""
        return self.written

    def name_of(self, device_id: str) -> str | None:
        """What the members know a device by; None when they must not be told of it."""
        return device_id

    def flush(self, now: float, monotonic: float) -> list[Subscription]:
        """Write this turn's frames to every member; returns those that could not take them.

        ``now`` is wall-clock. Members may not change while this runs. The loop body is the hottest code
        of the program: three calls into the transport and nothing else for a socket that keeps up.
        """
        entries, self.entries = self.entries, []
        data = entries[0][1] if len(entries) == 1 else b"".join([frame for _, frame in entries])
        self.written += len(entries)
        room = max(CHUNK_BYTES - len(data), 0)
        behind: list[Subscription] = []
        for member in self.members:
            transport = member.transport
            try:
                if (
                    (member.outbox is None or member.caught_up(now, monotonic))
                    and transport.get_write_buffer_size() <= room
                    and not transport.is_closing()
                ):
                    transport.write(data)
                    continue
            except RuntimeError:  # uvloop's way to say that the socket is gone (MagicStack/uvloop#506)
                member.failed()
            member.hold(entries, now)
            behind.append(member)
        return behind
