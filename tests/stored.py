"""A database that obeys the test, an audience that remembers, and the stored shares between them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from bridge.core.errors import StorageError
from bridge.stream.deadlines import Deadlines
from share.links.links import Links
from share.model.draft import Draft
from share.model.errors import GoneError
from share.model.grant import Grant
from share.model.limits import ShareLimits
from share.model.share import EndReason, Share, Status
from tests.fakes import Clock, Timers

NOW = 1_900_000_000.0
DAY = 86_400.0
Shares = list[Share]


class FakeStore:
    """The rows, in memory. It keeps all promises of the real one, and fails or waits when told to."""

    def __init__(self) -> None:
        self.rows: dict[str, Share] = {}
        self.calls: list[str] = []
        self.failing: set[str] = set()
        """Names of the calls that raise StorageError; they are still noted."""
        self.broken: set[str] = set()
        """Names of the calls that raise what they should not."""
        self.gate = asyncio.Event()
        self.gate.set()

    async def _enter(self, name: str) -> None:
        self.calls.append(name)
        await self.gate.wait()
        if name in self.broken:
            raise ZeroDivisionError(f"the test's bug with {[row.label for row in self.rows.values()]}")
        if name in self.failing:
            raise StorageError("the disk is full")

    async def load_open(self, now: float) -> Shares:
        await self._enter("load_open")
        return [row for row in self.rows.values() if row.status(now) in (Status.UPCOMING, Status.ACTIVE)]

    async def insert(self, share: Share) -> None:
        await self._enter("insert")
        assert share.id not in self.rows
        self.rows[share.id] = share

    async def replace(self, share: Share) -> None:
        await self._enter("replace")
        if share.id not in self.rows or self.rows[share.id].ended_at is not None:
            raise GoneError("there is no such row, or it has ended")
        self.rows[share.id] = replace(share, viewers_total=self.rows[share.id].viewers_total)

    async def by_id(self, share_id: str) -> Share | None:
        await self._enter("by_id")
        return self.rows.get(share_id)

    async def by_code_hash(self, code_hash: str) -> Share | None:
        await self._enter("by_code_hash")
        return next((row for row in self.rows.values() if row.code_hash == code_hash), None)

    async def list(self, owner: str | None, status: Status | None, now: float, limit: int, after: str | None) -> Shares:
        await self._enter("list")
        rows = sorted(self.rows.values(), key=lambda row: (row.created_at, row.id), reverse=True)
        if after is not None:
            ids = [row.id for row in rows]
            rows = rows[ids.index(after) + 1 :] if after in ids else []
        rows = [row for row in rows if owner in (None, row.owner) and status in (None, row.status(now))]
        return rows[:limit]

    async def add_viewers(self, counts: Mapping[str, int]) -> None:
        await self._enter("add_viewers")
        for share_id in counts.keys() & self.rows.keys():
            row = self.rows[share_id]
            self.rows[share_id] = replace(row, viewers_total=row.viewers_total + counts[share_id])

    async def purge(self, before: float) -> int:
        await self._enter("purge")
        old = [row.id for row in self.rows.values() if (row.ended_at or row.ends_at) < before]
        for share_id in old:
            del self.rows[share_id]
        return len(old)


class FakeAudience:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.watching: Counter[str] = Counter()
        self.newest: Share | None = None

    def opened(self, share: Share) -> None:
        self.told.append(("opened", share.id))

    def changed(self, before: Share, after: Share) -> None:
        assert before.id == after.id
        self.newest = after
        self.told.append(("changed", after.id))

    def closed(self, share: Share, reason: EndReason | None) -> None:
        self.newest = share
        self.told.append((f"closed {reason.value if reason else 'expired'}", share.id))

    def viewers(self, share_id: str) -> int:
        return self.watching[share_id]

    @property
    def words(self) -> list[str]:
        """What was told, without the ids."""
        return [word for word, _ in self.told]


class Office:
    """Links on a fake store, with a clock and a loop's timers that go when a test moves them."""

    def __init__(
        self, store: FakeStore | None = None, max_shares: int = 100, limits: ShareLimits = ShareLimits()
    ) -> None:
        self.store = store or FakeStore()
        self.audience = FakeAudience()
        self.clock = Clock(NOW)
        self.timers = Timers()
        self.deadlines = Deadlines(self.clock, self.timers)
        self.links = Links(
            self.store,
            self.audience,
            clock=self.clock,
            deadlines=self.deadlines,
            max_shares=max_shares,
            retention_seconds=30 * DAY,
            call_later=self.timers,
            limits=limits,
        )

    async def share(self, *device_ids: str, ends_in: float = 3600.0, label: str = "") -> Share:
        """A new share of these devices, of ``A`` when none is named."""
        share, _ = await self.links.create("ana", draft(*device_ids, ends_in=ends_in, label=label))
        return share

    async def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Wall clock and loop go on together, and what they set off is done."""
        for _ in range(round(seconds / step)):
            self.clock.now += step
            self.timers.advance(step)
            await settle()


def draft(*device_ids: str, ends_in: float = 3600.0, label: str = "") -> Draft:
    """A draft that starts now."""
    aliases = tuple((device_id, f"Van of {number}") for number, device_id in enumerate(device_ids or ("A",)))
    return Draft(NOW, NOW + ends_in, Grant(aliases, starts_at=NOW), label=label)


async def settle() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(20):
        await asyncio.sleep(0)
