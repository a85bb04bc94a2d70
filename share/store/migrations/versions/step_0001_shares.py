"""The first form: one table."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None


def upgrade() -> None:
    """From an empty database."""
    text_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "shares",
        sa.Column("id", text_id, primary_key=True),
        sa.Column("code_hash", text_id, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("starts_at", sa.Double, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("end_reason", sa.Text),
        sa.Column("password_hash", sa.Text),
        sa.Column("max_viewers", sa.BigInteger),
        sa.Column("viewers_total", sa.BigInteger, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.UniqueConstraint("code_hash", name="uq_shares_code_hash"),
    )
    op.create_index("ix_shares_owner_created_at", "shares", ["owner", "created_at", "id"])
    op.create_index("ix_shares_ends_at", "shares", ["ends_at"])
