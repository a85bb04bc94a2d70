"""What the stored shares lean on: the database, and who serves the viewers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from share.model.share import EndReason, Share, Status


class Page(NamedTuple):
    """A part of a list, newest first, and the id after which the next part begins; None at the end."""

    shares: list[Share]
    after: str | None


class Store(Protocol):
    """The database. Every call may raise StorageError: then it is not to be taken for done."""

    async def load_open(self, now: float) -> list[Share]: ...
    async def insert(self, share: Share) -> None: ...
    async def replace(self, share: Share) -> None: ...
    async def by_id(self, share_id: str, /) -> Share | None: ...
    async def by_code_hash(self, code_hash: str, /) -> Share | None: ...
    async def list(
        self, owner: str | None, status: Status | None, now: float, limit: int, after: str | None, /
    ) -> list[Share]: ...
    async def add_viewers(self, counts: Mapping[str, int], /) -> None: ...
    async def purge(self, before: float, /) -> int: ...


class Audience(Protocol):
    """Who serves the viewers of open shares. Called on the loop, when the change has taken effect; never waits."""

    def opened(self, share: Share) -> None: ...
    def changed(self, before: Share, after: Share) -> None: ...
    def closed(self, share: Share, reason: EndReason | None) -> None:
        """``share`` is over; ``reason`` None: its time is."""

    def viewers(self, share_id: str) -> int:
        """Streams that are open now."""
