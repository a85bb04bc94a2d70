"""What one client may send in a second. Pure: time comes in as an argument."""

from __future__ import annotations

from bridge.core.limits import READ_SECONDS

_SECOND = 1.0


class ReadBudget:
    """Frames and bytes for each second in which the client sends, whatever the frames are."""

    __slots__ = ("_bytes", "_bytes_per_second", "_frames_per_second", "_seconds_over", "ends_at", "frames")

    def __init__(self, frames_per_second: int, bytes_per_second: int) -> None:
        self._frames_per_second = frames_per_second
        self._bytes_per_second = bytes_per_second
        self._seconds_over = 0
        self._bytes = 0
        self.frames = 0
        """What is left of this second's frames; none where its bytes are spent."""
        self.ends_at = 0.0
        """When the next second begins, monotonic."""

    def renew(self, now: float) -> None:
        """Begin a new second if the last one has passed. One without a client over its budget breaks the row."""
        if now >= self.ends_at:
            if not self.spent or now >= self.ends_at + _SECOND:
                self._seconds_over = 0
            self.ends_at = now + _SECOND
            self.frames, self._bytes = self._frames_per_second, self._bytes_per_second

    def received(self, size: int) -> None:
        """So many bytes were read."""
        self._bytes -= size

    @property
    def spent(self) -> bool:
        """Whether nothing more is to be taken in this second."""
        return self.frames <= 0 or self._bytes <= 0

    def over(self) -> bool:
        """The client has more, and the budget is spent: whether that is so for READ_SECONDS in a row."""
        self._seconds_over += 1
        return self._seconds_over >= READ_SECONDS
