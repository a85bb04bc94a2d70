"""What is persisted after it has taken effect: ends by arrival, counts of viewers; and old shares removed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from bridge.core.errors import StorageError
from share.links.background import CallLater, Periodic
from share.links.ports import Store
from share.model.errors import GoneError
from share.model.limits import ARRIVALS_SECONDS, PURGE_SECONDS
from share.model.share import Share

log = logging.getLogger("share.links.write_behind")


class WriteBehind:
    """Retries until the database takes it."""

    def __init__(
        self,
        store: Store,
        writing: asyncio.Lock,
        *,
        clock: Callable[[], float],
        retention_seconds: float,
        viewers_seconds: float,
        call_later: CallLater,
        counted: Callable[[str, int], None],
    ) -> None:
        """``writing`` is held while rows are written. Counts are written every ``viewers_seconds``;
        ``counted(share_id, count)`` is called once they are stored."""
        self.ended: dict[str, Share] = {}
        """Shares that have arrived and are not stored as ended yet."""
        self.counts: Counter[str] = Counter()
        """Viewers by share that are not stored yet."""
        self._store = store
        self._writing = writing
        self._clock = clock
        self._retention_seconds = retention_seconds
        self._counted = counted
        self._arrivals = Periodic("storing the end of shares that arrived", ARRIVALS_SECONDS, self._save, call_later)
        self._flushing = Periodic("counting viewers", viewers_seconds, self._flush, call_later)
        self._purging = Periodic("removing old shares", PURGE_SECONDS, self._purge, call_later)

    def start(self) -> None:
        """Begin to store counts, and to remove old shares."""
        self._flushing.start()
        self._purging.now()

    async def close(self) -> None:
        """One more try for all that is not stored."""
        await self._purging.close()
        await self._arrivals.close(once_more=True)
        await self._flushing.close(once_more=True)

    def end(self, share: Share) -> None:
        """Store that ``share`` has ended, as soon as the database takes it."""
        self.ended[share.id] = share
        self._arrivals.now()

    async def _save(self) -> None:
        failed: StorageError | None = None
        for share_id in list(self.ended):
            async with self._writing:
                if share_id not in self.ended:  # revoked meanwhile
                    continue
                try:
                    await self._store.replace(self.ended[share_id])
                    self.ended.pop(share_id, None)
                except GoneError:  # it has ended already, or was removed: nothing is left to store
                    self.ended.pop(share_id, None)
                except StorageError as error:  # the next one may still be stored
                    failed = error
        if failed is not None:
            raise failed

    async def _flush(self) -> None:
        async with self._writing:
            counts = dict(self.counts)
            if not counts:
                return
            await self._store.add_viewers(counts)
            self.counts -= Counter(counts)
            for share_id, count in counts.items():
                self._counted(share_id, count)

    async def _purge(self) -> None:
        removed = await self._store.purge(self._clock() - self._retention_seconds)
        if removed:
            log.info("Shares: %d removed after their retention", removed)
