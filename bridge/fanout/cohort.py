"""Sockets with the same selection, served together.

All that differs between the sockets of a cohort is where the bytes go, so a message costs one append for
the whole cohort, one join per turn, and then one write per socket: 50 dashboards that watch the same
200 devices are one cohort; 1,000 people who watch one bus are another.
"""

from __future__ import annotations

from bridge.fanout.rendering import Message, Selection
from bridge.fanout.subscription import Subscription


class Cohort:
    """The members of one selection, and what the current turn brings them."""

    __slots__ = ("lasting", "members", "selection", "turn")

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.members: dict[Subscription, None] = {}
        self.turn: list[Message] = []
        self.lasting = False
        """Whether it stays without members."""

    def flush(self, now: float, monotonic: float) -> int:
        """Render the turn and write it to every member; returns how many messages were written, each once a socket.

        ``now`` is wall-clock. Members may not change while this runs. The loop body is the hottest code
        of the program: one call into the transport and nothing else for a socket that keeps up.
        """
        turn, self.turn = self.turn, []
        entries = self.selection.renderer.render(turn, now, monotonic)
        if not entries or not self.members:
            return 0
        count = len(entries)
        data = entries[0].frame if count == 1 else b"".join([entry.frame for entry in entries])
        written = 0
        for member in self.members:
            if member.ready:
                try:
                    member.write(data)
                except RuntimeError:  # uvloop's way to say that the socket is gone (MagicStack/uvloop#506)
                    member.failed()
                else:
                    member.sent += count
                    written += count
                    continue
            member.hold(entries, now)
        return written
