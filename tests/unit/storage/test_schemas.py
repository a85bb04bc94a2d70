"""The tables of several packages in one database: each has its own history, and none knows of the others."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, Text, insert, select

from bridge.core.errors import StartError
from bridge.storage.database import Database
from bridge.storage.limits import StorageLimits
from bridge.storage.migrations import Schema
from bridge.storage.opening import open_database, probe_database
from share.store.migrations import SHARES
from share.store.store import Store
from tests.share_rows import NOW, a_share
from tests.share_store import StoredShares

NAMES = Table("names", MetaData(), Column("device_id", Text, primary_key=True), Column("name", Text))
STEP = """import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

def upgrade():
    op.create_table("names", sa.Column("device_id", sa.Text, primary_key=True), sa.Column("name", sa.Text))
"""
LATER_STEP = """from alembic import op

revision, down_revision = "0002", "0001"

def upgrade():
    op.execute("INSERT INTO names VALUES ('A', 'Van')")
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/both.sqlite3"


@pytest.fixture
def names(tmp_path: Path) -> Schema:
    """Another package's tables; its first step has the same number as the shares'."""
    steps = tmp_path / "a folder: with, odd;characters %"
    steps.mkdir()
    (steps / "step_0001_names.py").write_text(STEP)
    return Schema(steps, version_table="names_version")


@pytest.fixture
async def both(url: str, names: Schema) -> AsyncIterator[Database]:
    """A database of two packages."""
    database = Database(url, [SHARES, names])
    await database.open()
    yield database
    await database.close()


def versions(url: str, table: str) -> list[str]:
    """The step that a schema has reached, as the database has it."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
        return [row[0] for row in other.execute(f"SELECT version_num FROM {table}")]


async def test_two_packages_use_one_database(both: Database) -> None:
    """Each reads and writes its own tables over the one connection."""
    store = Store(both)
    await store.insert(a_share())
    await both.run(lambda connection: connection.execute(insert(NAMES), {"device_id": "A", "name": "Van"}))
    assert await store.by_id("id-0001") == a_share()
    assert await both.run(lambda connection: connection.execute(select(NAMES.c.name)).scalars().all()) == ["Van"]


async def test_a_second_schema_moves_into_a_database_of_shares(url: str, names: Schema) -> None:
    """A database that an earlier release has filled opens with one more schema, and keeps its rows."""
    store = StoredShares(url)
    await store.open()
    await store.insert(a_share())
    await store.close()
    both = Database(url, [SHARES, names])
    await both.open()
    assert await Store(both).load_open(NOW) == [a_share()]
    assert await both.run(lambda connection: connection.execute(select(NAMES)).all()) == []
    await both.close()


def test_each_schema_advances_by_itself(url: str, names: Schema) -> None:
    """A new step of one is taken while the other stays where it is, and neither sees the other's version."""
    open_database(url, [SHARES, names], StorageLimits()).dispose()
    (names.steps / "step_0002_van.py").write_text(LATER_STEP)
    open_database(url, [SHARES, names], StorageLimits()).dispose()
    assert (versions(url, "alembic_version"), versions(url, "names_version")) == (["0001"], ["0002"])


def test_a_release_without_the_second_schema_still_opens_the_database(url: str, names: Schema) -> None:
    """Tables that this process does not use are none of its business."""
    open_database(url, [SHARES, names], StorageLimits()).dispose()
    open_database(url, [SHARES], StorageLimits()).dispose()
    probe_database(url, [SHARES], StorageLimits())


@pytest.mark.parametrize("look", [open_database, probe_database])
def test_a_newer_form_of_either_schema_is_refused(url: str, names: Schema, look: object) -> None:
    """The second schema's history is checked as the first one's is."""
    assert callable(look)
    open_database(url, [SHARES, names], StorageLimits()).dispose()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
        other.execute("UPDATE names_version SET version_num = '9999'")
        other.commit()
    with pytest.raises(StartError, match=r"made by a newer release of telemetry-bridge \(9999\)"):
        look(url, [SHARES, names], StorageLimits())


def test_a_step_that_fails_undoes_the_other_schemas_too(url: str, names: Schema) -> None:
    """All steps of all schemas or none: a start that failed leaves an empty database empty."""
    (names.steps / "step_0001_names.py").write_text(STEP + "    raise RuntimeError('power cut')\n")
    with pytest.raises(RuntimeError, match="power cut"):
        open_database(url, [SHARES, names], StorageLimits())
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == []
