"""From any earlier form of the tables to the newest, and what Alembic must not do on the way."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bridge.storage.limits import StorageLimits
from bridge.storage.migrations import Schema, configuration
from bridge.storage.opening import open_database
from share.store import migrations
from share.store.migrations import SHARES
from share.store.tables import metadata
from tests.environment import environment
from tests.share_rows import NOW, a_share
from tests.share_store import StoredShares

FIRST = "0001"
FAILING_STEP = """revision, down_revision = "0002", "0001"

def upgrade():
    raise RuntimeError("power cut")
"""


def steps_up_to(revision: str, folder: Path) -> Path:
    """``folder``, made, with the steps of the shares' tables until ``revision``."""
    folder.mkdir()
    for step in SHARES.steps.glob("step_*.py"):
        if step.name.split("_")[1] <= revision:
            shutil.copy(step, folder)
    return folder


def differences(connection: Connection) -> list[Any]:
    """Between the database and ``share/store/tables.py``, as Alembic sees them."""
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/shares.sqlite3"


def test_the_steps_lead_to_the_tables(url: str) -> None:
    """What the migrations make is what ``tables`` says, without a difference in either direction."""
    engine = open_database(url, [SHARES], StorageLimits())
    with engine.connect() as connection:
        assert differences(connection) == []
        connection.exec_driver_sql("DROP INDEX ix_shares_ends_at")
        assert len(differences(connection)) == 1  # it would have been seen
    engine.dispose()


def test_the_steps_are_one_line(url: str) -> None:
    """One first step, one newest, each after one other: two branches could not both be taken."""
    engine = open_database(url, [SHARES], StorageLimits())
    with engine.connect() as connection:
        script = ScriptDirectory.from_config(configuration(connection, SHARES))
        assert script.get_bases() == [FIRST]
        assert len(script.get_heads()) == 1
        assert not any(step.is_merge_point or step.is_branch_point for step in script.walk_revisions())
        assert MigrationContext.configure(connection).get_current_heads() == tuple(script.get_heads())
    engine.dispose()


async def test_a_database_of_the_first_release_is_brought_up_to_date(url: str, tmp_path: Path) -> None:
    """A share that the first form of the tables kept is there, unchanged, in the newest."""
    first = Schema(steps_up_to(FIRST, tmp_path / "steps"), SHARES.version_table)
    open_database(url, [first], StorageLimits()).dispose()
    path = url.removeprefix("sqlite:///")
    row = {
        "id": "id-0001", "code_hash": f"{1:064x}", "owner": "ana", "label": "", "created_at": NOW - 10,
        "starts_at": NOW - 10, "ends_at": NOW + 3600, "viewers_total": 0,
        "details": '{"version":1,"aliases":[["van-1","Van 1"]],'
        '"fields":["accuracy_m","heading_deg","speed_kmh","time"],"precision_m":0.0,"delay_s":0.0,"trail":0,"destination":null,"end_on_arrival":false}',
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"INSERT INTO shares ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
        other.commit()
    store = StoredShares(url)
    await store.open()
    assert await store.load_open(NOW) == [a_share()]
    await store.close()


async def test_a_step_that_fails_leaves_everything_as_it_was(url: str, tmp_path: Path) -> None:
    """All steps or none: tables and version belong to one transaction, on SQLite too."""
    steps = steps_up_to(FIRST, tmp_path / "steps")
    (steps / "step_0002_fails.py").write_text(FAILING_STEP)
    with pytest.raises(RuntimeError, match="power cut"):
        open_database(url, [Schema(steps, SHARES.version_table)], StorageLimits())
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == []


async def test_stores_that_start_together_do_not_collide(url: str) -> None:
    """One of them migrates, the others find it done."""
    limits = StorageLimits(busy_seconds=30.0)  # a slow disk may take longer than a start waits
    stores = [StoredShares(url, limits) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await stores[0].insert(a_share())
    assert await stores[3].by_id("id-0001") == a_share()
    for store in stores:
        await store.close()


def test_alembic_leaves_the_log_and_the_terminal_alone(
    url: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It prints nothing, writes no line below WARNING, and changes no handler and no level but its own."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("share").level, logging.root.manager.disable)
    with caplog.at_level(logging.DEBUG):
        open_database(url, [SHARES], StorageLimits()).dispose()
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert before == (list(root.handlers), root.level, logging.getLogger("share").level, logging.root.manager.disable)


def test_the_steps_are_found_from_any_folder(tmp_path: Path) -> None:
    """An installed bridge, started anywhere, opens a new database; Alembic is imported no earlier than that."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from bridge.storage.limits import StorageLimits\n"
        "from bridge.storage.opening import open_database\n"
        "from share.store.migrations import SHARES\n"
        "assert not any(name.split('.')[0] == 'alembic' for name in sys.modules)\n"
        "open_database('sqlite:///new.sqlite3', [SHARES], StorageLimits()).dispose()\n"
    )
    project = Path(migrations.__file__).parents[3]
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, project], env=environment(), cwd=tmp_path, check=True, timeout=30
    )
    assert [path.name for path in tmp_path.iterdir()] == ["new.sqlite3"]
