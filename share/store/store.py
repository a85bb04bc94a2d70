"""The stored shares: one query or statement for each call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, insert, or_, select, tuple_, update

from bridge.core.errors import StorageError
from share.model.errors import GoneError
from share.model.share import EndReason, Share, Status
from share.store.tables import from_row, shares, to_row

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping, Select

    from bridge.storage.database import Database

Shares = list[Share]
"""Needed as a name, as ``Store`` has a method ``list``."""

_log = logging.getLogger(__name__)


class Store:
    """Shares in a database that has the schema SHARES. Every method raises StorageError as of ``Database.run``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading ---------------------------------------------------------------------------------------

    async def load_open(self, now: float) -> Shares:
        """The shares that are upcoming or active at ``now``, in no order.

        A share that this release cannot read is left out, here and in ``list``, with a line in the log: a single one
        must not keep a server from starting.
        """
        query = select(shares).where(_is_open(now))
        return await self._database.run(lambda connection: _readable(connection.execute(query).mappings()))

    async def by_id(self, share_id: str) -> Share | None:
        """The share with this id, open or not. StorageError also when this release cannot read it."""
        found = await self._shares(select(shares).where(shares.c.id == share_id))
        return found[0] if found else None

    async def by_code_hash(self, code_hash: str) -> Share | None:
        """The share whose code has this hash; otherwise as ``by_id``."""
        found = await self._shares(select(shares).where(shares.c.code_hash == code_hash))
        return found[0] if found else None

    async def list(self, owner: str | None, status: Status | None, now: float, limit: int, after: str | None) -> Shares:
        """At most ``limit`` of them, the newest first; of the same moment the greater id first.

        ``owner`` and ``status`` (at ``now``) narrow the choice unless None. ``after`` is the id of the last share
        of the page before; after an id that is unknown, or not this owner's, comes nothing.
        """
        newest_first = (shares.c.created_at.desc(), shares.c.id.desc())

        def page(mark: str | None) -> Select[Any]:
            wanted: list[ColumnElement[bool]] = []
            if owner is not None:
                wanted.append(shares.c.owner == owner)
            if mark is not None:
                moment = select(shares.c.created_at).where(shares.c.id == mark, *wanted).scalar_subquery()
                wanted.append(tuple_(shares.c.created_at, shares.c.id) < tuple_(moment, mark))
            if status is not None:
                wanted.append(_has_status(status, now))
            return select(shares).where(*wanted).order_by(*newest_first).limit(limit)

        def work(connection: Connection) -> Shares:
            found: Shares = []
            mark = after
            while True:  # once, unless rows are skipped: they must not make a page look like the last
                rows = connection.execute(page(mark)).mappings().all()
                found += _readable(rows)
                if len(rows) < limit or len(found) >= limit:
                    return found[:limit]
                mark = rows[-1]["id"]

        return await self._database.run(work)

    # --- writing ---------------------------------------------------------------------------------------

    async def insert(self, share: Share) -> None:
        """Store a new share. StorageError also when its id or code_hash exists already."""
        row = to_row(share)
        await self._database.run(lambda connection: connection.execute(insert(shares), row))

    async def replace(self, share: Share) -> None:
        """Store every column of ``share`` but ``viewers_total``, which only ``add_viewers`` changes: the caller need
        not know what was counted meanwhile. GoneError when it is not there, or has
        ended: what another process has revoked stays revoked."""
        row = to_row(share)
        del row["viewers_total"]

        def work(connection: Connection) -> None:
            goes_on = and_(shares.c.id == share.id, shares.c.ended_at.is_(None))
            if connection.execute(update(shares).where(goes_on).values(row)).rowcount != 1:
                raise GoneError(f"share {share.id} has ended, or is not in the database")

        await self._database.run(work)

    async def add_viewers(self, counts: Mapping[str, int]) -> None:
        """Add to ``viewers_total`` by id. Unknown ids are skipped."""
        rows = [{"share": share_id, "more": count} for share_id, count in sorted(counts.items())]
        if not rows:
            return
        statement = (
            update(shares)
            .where(shares.c.id == bindparam("share"))
            .values(viewers_total=shares.c.viewers_total + bindparam("more"))
        )
        await self._database.run(lambda connection: connection.execute(statement, rows))

    async def purge(self, before: float) -> int:
        """Delete the shares that had ended by ``before``: by ``ended_at``, else by ``ends_at``. Returns how many."""
        old = func.coalesce(shares.c.ended_at, shares.c.ends_at) < before
        return await self._database.run(lambda connection: connection.execute(delete(shares).where(old)).rowcount)

    async def _shares(self, query: Select[Any]) -> Shares:
        return await self._database.run(
            lambda connection: [from_row(row) for row in connection.execute(query).mappings()]
        )


def _readable(rows: Iterable[RowMapping]) -> Shares:
    found = []
    for row in rows:
        try:
            found.append(from_row(row))
        except StorageError as error:
            _log.warning("skipped: %s", error)
    return found


def _is_open(now: float) -> ColumnElement[bool]:
    return and_(_not_revoked(), shares.c.ended_at.is_(None), shares.c.ends_at > now)


def _not_revoked() -> ColumnElement[bool]:
    return or_(shares.c.end_reason.is_(None), shares.c.end_reason != EndReason.REVOKED.value)


def _has_status(status: Status, now: float) -> ColumnElement[bool]:
    """``Share.status(now) is status``, in SQL."""
    match status:
        case Status.REVOKED:
            return shares.c.end_reason == EndReason.REVOKED.value
        case Status.ENDED:
            return and_(_not_revoked(), or_(shares.c.ended_at.is_not(None), shares.c.ends_at <= now))
        case Status.UPCOMING:
            return and_(_is_open(now), shares.c.starts_at > now)
        case Status.ACTIVE:
            return and_(_is_open(now), shares.c.starts_at <= now)
