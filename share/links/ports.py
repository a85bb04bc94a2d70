"""The ports of the stored shares: the database, and what serves the viewers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from share.model.share import EndReason, Share, Status


class Page(NamedTuple):
    """A part of a list, newest first, and the id after which the next part begins; None at the end."""

    shares: list[Share]
    after: str | None


class Store(Protocol):
    """The database. Every call may raise StorageError; then it does not count as done."""

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
    """Serves the viewers of open shares. Called on the loop once a change has taken effect; never blocks."""

    def opened(self, share: Share) -> None: ...
    def changed(self, before: Share, after: Share) -> None: ...
    def closed(self, share: Share, reason: EndReason | None) -> None:
        """``share`` has ended; ``reason`` is None when it has expired."""

    def viewers(self, share_id: str) -> int:
        """Streams that are open now."""
