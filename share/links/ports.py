"""The ports of the stored shares: the database, and what serves the viewers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from share.model.share import EndReason, Share, Status


class Page(NamedTuple):
    """One page of a list, newest first, and the id after which the next one begins; None at the end."""

    shares: list[Share]
    after: str | None


class Store(Protocol):
    """The database. Every call may raise StorageError; then it does not count as done."""

    async def load_open(self, now: float) -> list[Share]:
        """The shares that are upcoming or active at ``now``, in no order."""

    async def insert(self, share: Share) -> None:
        """Store a new share."""

    async def replace(self, share: Share) -> None:
        """Store the share as it is now, but for ``viewers_total``. GoneError when it has ended there, or is gone."""

    async def by_id(self, share_id: str, /) -> Share | None:
        """The share with this id, open or not."""

    async def by_code_hash(self, code_hash: str, /) -> Share | None:
        """The share whose code has this hash, open or not."""

    async def list(
        self, owner: str | None, status: Status | None, now: float, limit: int, after: str | None, /
    ) -> list[Share]:
        """At most ``limit`` shares, newest first, that follow the id ``after``; None narrows nothing."""

    async def add_viewers(self, counts: Mapping[str, int], /) -> None:
        """Add to ``viewers_total`` by id. Unknown ids are skipped."""

    async def purge(self, before: float, /) -> int:
        """Delete the shares that had ended by ``before``; returns how many."""


class Audience(Protocol):
    """Serves the viewers of open shares. Called on the loop once a change has taken effect; never blocks."""

    def opened(self, share: Share) -> None:
        """There is something to watch from now on."""

    def changed(self, before: Share, after: Share) -> None:
        """Label, aliases, end, password or limit are what ``after`` says."""

    def closed(self, share: Share, reason: EndReason | None) -> None:
        """``share`` has ended; ``reason`` is None when it has expired."""

    def viewers(self, share_id: str) -> int:
        """Streams that are open now."""
