"""The table of the shares, and a share as a row of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, Column, Double, Index, MetaData, RowMapping, Table, Text, UniqueConstraint

from bridge.core.errors import StorageError
from share.model.grant import Destination, Grant
from share.model.share import EndReason, Share

GRANT_VERSION: Final = 1
"""Goes up with every field of a grant that restricts what is shown. A release that does not know the field then
refuses the row, as two of them may serve from one database for a while, and does not show more than was granted."""

metadata: Final = MetaData()

# "C" orders by code point as SQLite does, and stays as it is when the host's locales change.
_Id = Text().with_variant(Text(collation="C"), "postgresql")

shares: Final = Table(
    "shares",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("code_hash", _Id, nullable=False),
    Column("owner", Text, nullable=False),
    Column("label", Text, nullable=False),
    # Seconds since the epoch, as everywhere else; a double keeps them exactly.
    Column("created_at", Double, nullable=False),
    Column("starts_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("end_reason", Text),
    Column("password_hash", Text),
    Column("max_viewers", BigInteger),
    Column("viewers_total", BigInteger, nullable=False),
    Column("details", Text, nullable=False),
    UniqueConstraint("code_hash", name="uq_shares_code_hash"),
    Index("ix_shares_owner_created_at", "owner", "created_at", "id"),
    Index("ix_shares_ends_at", "ends_at"),
)
"""``details`` is the grant as JSON, without what has a column: it is read whole and never searched."""


def to_row(share: Share) -> dict[str, Any]:
    """Every column of ``share``, by name."""
    return {
        "id": share.id,
        "code_hash": share.code_hash,
        "owner": share.owner,
        "label": share.label,
        "created_at": share.created_at,
        "starts_at": share.starts_at,
        "ends_at": share.ends_at,
        "ended_at": share.ended_at,
        "end_reason": share.end_reason.value if share.end_reason is not None else None,
        "password_hash": share.password_hash,
        "max_viewers": share.max_viewers,
        "viewers_total": share.viewers_total,
        "details": _details(share.grant),
    }


def from_row(row: RowMapping) -> Share:
    """The share that ``to_row`` was given. StorageError when this release cannot read the row."""
    columns = dict(row)
    try:
        grant = _grant(columns.pop("details"), columns["starts_at"])
        reason = columns.pop("end_reason")
        return Share(grant=grant, end_reason=None if reason is None else EndReason(reason), **columns)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        name = row.get("id")
        raise StorageError(f"share {name} in the database cannot be read ({type(error).__name__})") from None


def _details(grant: Grant) -> str:
    details = {
        "version": GRANT_VERSION,
        "aliases": grant.aliases,
        "fields": sorted(grant.fields),
        "precision_m": grant.precision_m,
        "delay_s": grant.delay_s,
        "trail": grant.trail,
        "destination": asdict(grant.destination) if grant.destination is not None else None,
        "end_on_arrival": grant.end_on_arrival,
    }
    return orjson.dumps(details).decode()


def _grant(text: str, starts_at: float) -> Grant:
    details = orjson.loads(text)
    if details.pop("version") != GRANT_VERSION:
        raise ValueError("a newer release wrote it")
    destination = details.pop("destination")
    return Grant(
        aliases=tuple((device_id, alias) for device_id, alias in details.pop("aliases")),
        fields=frozenset(details.pop("fields")),
        starts_at=starts_at,
        destination=None if destination is None else Destination(**destination),
        **details,
    )
