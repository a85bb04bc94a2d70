"""The shares of this process: open ones in memory, all of them in the database, and the two never at odds.

A share is *open* from its creation until it expires, is revoked or arrives. Changes are persisted before they take
effect; only an end by arrival or by time takes effect at once and is persisted after.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bridge.core.errors import StorageError
from bridge.core.times import timestamp
from bridge.stream.deadlines import Deadlines
from share.links.background import BoundedLock, CallLater, Shielded
from share.links.ports import Audience, Page, Store
from share.links.write_behind import WriteBehind
from share.model.draft import Changes, Draft, ShareEndedError, TooManySharesError
from share.model.errors import GoneError
from share.model.limits import CODE_BYTES, ID_BYTES, ShareLimits
from share.model.share import EndReason, Share, Status

log = logging.getLogger("share.links.links")


class Links:
    """Every call belongs to the loop. What waits for the database is a coroutine.

    Cancelling a caller does not undo what it has begun: the write, and what follows from it, go on.
    """

    def __init__(
        self,
        store: Store,
        audience: Audience,
        *,
        clock: Callable[[], float],
        deadlines: Deadlines,
        max_shares: int,
        retention_seconds: float,
        call_later: CallLater,
        limits: ShareLimits = ShareLimits(),
    ) -> None:
        """``clock`` is wall-clock; shares are kept for ``retention_seconds`` after their end."""
        self._store = store
        self._audience = audience
        self._clock = clock
        self._deadlines = deadlines
        self._max_shares = max_shares
        self._close_seconds = limits.close_seconds
        self._open: dict[str, Share] = {}
        self._by_code: dict[str, str] = {}
        self._reserved = 0
        self._writing = BoundedLock(
            limits.max_waiting_changes, partial(StorageError, "too many changes wait for the database")
        )
        self._shielded = Shielded()
        self._write_behind = WriteBehind(
            store,
            self._writing.lock,
            clock=clock,
            retention_seconds=retention_seconds,
            viewers_seconds=limits.viewers_seconds,
            call_later=call_later,
            counted=self._counted,
        )
        self._unsaved = self._write_behind.ended

    async def load(self) -> None:
        """Open what the database says is open. StorageError when it cannot be read; then nothing is open."""
        for share in await self._store.load_open(self._clock()):
            self._open_up(share)
        self._write_behind.start()

    async def close(self) -> None:
        """Store what is not stored yet, for ``close_seconds`` at most. Shares stay as they are."""
        try:
            async with asyncio.timeout(self._close_seconds):
                await self._shielded.wait()
                await self._write_behind.close()
        except TimeoutError:
            lost = len(self._unsaved), self._write_behind.counts.total()
            log.warning("Shares: the database is too slow; the ends of %d by arrival and %d viewers are lost", *lost)

    # --- finding ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def find_open(self, share_id: str) -> Share | None:
        """The share if it is open here, upcoming or active. Nothing else may be shown to viewers."""
        return self._open.get(share_id)

    async def find(self, share_id: str) -> Share | None:
        """The share, open or not. StorageError."""
        return self._known(share_id) or await self._store.by_id(share_id)

    async def find_by_code(self, code: str) -> Share | None:
        """The share that ``code`` leads to, also one that has ended. StorageError."""
        share = self.find_open_by_code(code) or await self._store.by_code_hash(code_hash(code))
        if share is None or share.has_ended(self._clock()):
            return share
        if self._known(share.id) is None:
            await self._shielded.run(self._adopt(share.id))
        return await self.find(share.id)  # it may have ended while it was being opened

    def find_open_by_code(self, code: str) -> Share | None:
        """The share that ``code`` leads to if it is open here; asks no database."""
        return self._open.get(self._by_code.get(code_hash(code), ""))

    async def _adopt(self, share_id: str) -> None:
        """Open a share that is open in the database only: our clock was ahead, or another process made it."""
        async with self._writing.held():
            share = self._known(share_id) or await self._store.by_id(share_id)
            if share is not None and share_id not in self._open and not share.has_ended(self._clock()):
                self._open_up(share)

    async def list(self, owner: str | None, status: Status | None, limit: int, after: str | None) -> Page:
        """At most ``limit`` shares of ``owner`` (None: of all) with ``status`` (None: any), newest first.

        A page can be short, even empty, and still not be the last. StorageError.
        """
        now = self._clock()
        rows = await self._store.list(owner, status, now, limit + 1, after)
        shares = [self._known(row.id) or row for row in rows[:limit]]
        wanted = [share for share in shares if status is None or share.status(now) is status]
        return Page(wanted, shares[-1].id if len(rows) > limit else None)

    def _known(self, share_id: str) -> Share | None:
        """The share in memory, which is never older than in the database."""
        return self._open.get(share_id) or self._unsaved.get(share_id)

    # --- making, changing, ending -----------------------------------------------------------------------

    async def create(self, owner: str, draft: Draft) -> tuple[Share, str]:
        """A new share, stored and open, and the code of its link. TooManySharesError, StorageError: none is made."""
        if len(self._open) + self._reserved >= self._max_shares:
            raise TooManySharesError
        code = secrets.token_urlsafe(CODE_BYTES)
        share = Share(
            id=secrets.token_hex(ID_BYTES),
            code_hash=code_hash(code),
            owner=owner,
            created_at=self._clock(),
            starts_at=draft.starts_at,
            ends_at=draft.ends_at,
            grant=draft.grant,
            label=draft.label,
            password_hash=draft.password_hash,
            max_viewers=draft.max_viewers,
        )
        self._reserved += 1
        await self._shielded.run(self._create(share))
        return share, code

    async def _create(self, share: Share) -> None:
        try:
            await self._store.insert(share)
        finally:
            self._reserved -= 1
        log.info(
            "Share %s of %r created for %d devices until %s",
            share.id, share.owner, len(share.grant.aliases), timestamp(share.ends_at),
        )  # fmt: skip
        self._open_up(share)

    async def change(self, share: Share, changes: Changes) -> Share:
        """The share with ``changes`` made to what it is now. Concurrent changes are made one at a time.

        ShareEndedError, InvalidRequestError, StorageError: nothing was changed.
        """
        return await self._shielded.run(self._change(share.id, changes))

    async def _change(self, share_id: str, changes: Changes) -> Share:
        async with self._writing.held():
            before = await self.find(share_id)
            if before is None or before.has_ended(self._clock()):
                raise ShareEndedError(share_id)
            after = changes.applied(before)
            try:
                await self._store.replace(after)
            except GoneError:
                await self._follow(share_id)
                raise ShareEndedError(share_id) from None
            if share_id in self._unsaved:  # it arrived meanwhile, and that is stored after this
                raise ShareEndedError(share_id)
            log.info("Share %s of %r changed, until %s", after.id, after.owner, timestamp(after.ends_at))
            if share_id in self._open or not after.has_ended(self._clock()):  # its end may have come meanwhile
                self._open_up(after)
            return after

    async def revoke(self, share: Share) -> Share:
        """The share, ended. One that had ended before stays as it was. StorageError: it is unchanged and still open."""
        return await self._shielded.run(self._revoke(share))

    async def _revoke(self, share: Share) -> Share:
        async with self._writing.held():
            before = await self.find(share.id)
            now = self._clock()
            if before is None or before.has_ended(now):
                return before or share
            ended = replace(before, ended_at=now, end_reason=EndReason.REVOKED)
            try:
                await self._store.replace(ended)
            except GoneError:
                return await self._follow(share.id) or ended
            self._unsaved.pop(share.id, None)  # it arrived meanwhile; the database has an end already
            if share.id in self._open:
                log.info("Share %s of %r revoked, %d viewers closed", ended.id, ended.owner, self.viewers(share.id))
                self._close(ended, EndReason.REVOKED)
            return ended

    async def _follow(self, share_id: str) -> Share | None:
        """Another process has ended or removed the share: do the same here. Returns what the database has."""
        stored = await self._store.by_id(share_id)
        share = stored or self._open.get(share_id)
        if share is not None and share_id in self._open:
            self._close(share, share.end_reason if stored else EndReason.REVOKED)
        return stored

    def arrived(self, share_id: str) -> None:
        """The share has reached its destination: it ends at once, which is persisted as soon as possible."""
        share = self._open.get(share_id)
        if share is None:
            return
        ended = replace(share, ended_at=self._clock(), end_reason=EndReason.ARRIVED)
        log.info("Share %s of %r ended: arrived, %d viewers", ended.id, ended.owner, self.viewers(share_id))
        self._write_behind.end(ended)  # first: whatever becomes of its viewers, it must not be open after a restart
        self._close(ended, EndReason.ARRIVED)

    def _expired(self, share_id: str) -> None:
        share = self._open[share_id]
        log.info("Share %s of %r ended, %d viewers", share_id, share.owner, self.viewers(share_id))
        self._close(share, None)

    def _open_up(self, share: Share) -> None:
        """Open the share, or let it take the place of what it was."""
        before = self._open.get(share.id)
        self._open[share.id] = share
        self._by_code[share.code_hash] = share.id
        self._deadlines.set(("share", share.id), share.ends_at, lambda: self._expired(share.id))
        if before is None:
            self._audience.opened(share)
        else:
            self._audience.changed(before, share)

    def _close(self, share: Share, reason: EndReason | None) -> None:
        del self._open[share.id], self._by_code[share.code_hash]
        self._deadlines.discard(("share", share.id))
        self._audience.closed(share, reason)

    # --- counting ---------------------------------------------------------------------------------------

    def viewers(self, share_id: str) -> int:
        """Streams that are open now."""
        return self._audience.viewers(share_id)

    def count_viewer(self, share_id: str) -> None:
        """Count one more viewer."""
        self._write_behind.counts[share_id] += 1

    def pending_viewers(self, share_id: str) -> int:
        """Viewers that are not in ``Share.viewers_total`` yet."""
        return self._write_behind.counts[share_id]

    def _counted(self, share_id: str, count: int) -> None:
        for known in (self._open, self._unsaved):
            share = known.get(share_id)
            if share is not None:
                known[share_id] = replace(share, viewers_total=share.viewers_total + count)


def code_hash(code: str) -> str:
    """What is stored of a link's code. A plain hash is enough: a random code cannot be guessed."""
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
