"""What the disk and other programs do to the store, and what it says."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert
from sqlalchemy.exc import IntegrityError

from bridge.core.errors import StartError, StorageError
from bridge.storage.limits import StorageLimits
from bridge.storage.opening import open_database
from share.store.migrations import SHARES
from share.store.tables import shares, to_row
from tests.share_rows import NOW, a_share
from tests.share_store import StoredShares

PAGE = 4096
"""SQLite's page, in bytes."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is, or will be."""
    return tmp_path / "shares.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[StoredShares]:
    """A new one."""
    store = StoredShares(f"sqlite:///{path}")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def connections() -> Iterator[list[sqlite3.Connection]]:
    """Every connection that any engine makes during the test. Asked for before ``store``."""
    made: list[sqlite3.Connection] = []

    def connected(connection: Any, _record: object) -> None:
        made.append(connection)

    event.listen(Engine, "connect", connected)
    yield made
    event.remove(Engine, "connect", connected)


async def refused(url: str, limits: StorageLimits = StorageLimits()) -> str:
    """What ``open`` says. One line; nothing is left open."""
    store = StoredShares(url, limits)
    with pytest.raises(StartError) as caught:
        await store.open()
    text = str(caught.value)
    assert "\n" not in text
    with pytest.raises(StorageError, match="closed"):
        await store.load_open(NOW)
    return text


async def fill(path: Path, count: int = 50) -> None:
    """Make a sound database of several pages, and close it."""
    # A file that is still open is not the one that the test will change.
    store = StoredShares(f"sqlite:///{path}", StorageLimits(close_seconds=30.0))
    await store.open()
    for number in range(count):
        await store.insert(a_share(number, label="x" * 80))
    await store.close()


def files_in(folder: Path) -> list[str]:
    """Names, sorted."""
    return sorted(file.name for file in folder.iterdir())


def change(path: Path, edit: Callable[[bytes], bytes]) -> bytes:
    """The file's content, which is then what ``edit`` makes of it."""
    before = path.read_bytes() if path.exists() else b""
    path.write_bytes(edit(before))
    return before


# --- while it runs -------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_and_the_next_write_after_it_works(
    connections: list[sqlite3.Connection], store: StoredShares, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of a refused write is there; reading goes on; one line says so, and one when it works again."""
    [connection] = connections
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then answers as it does for ENOSPC
    huge = a_share(2, label="secret" * 10_000)
    with caplog.at_level(logging.INFO, "bridge"):
        for _ in range(2):
            with pytest.raises(StorageError, match="disk is full") as caught:
                await store.insert(huge)
            assert "secret" not in str(caught.value)
            assert await store.by_id(huge.id) is None
            assert caught.value.__cause__ is None
        connection.execute("PRAGMA max_page_count = 1000000")
        await store.insert(huge)
    assert await store.by_id(huge.id) == huge
    said = [record.getMessage().split(":")[0] for record in caplog.records]
    # A read in between worked, so each refusal is a new episode.
    assert said == ["the database fails", "the database works again"] * 2


async def test_a_lock_of_another_program_is_waited_for_beside_the_loop(path: Path) -> None:
    """The loop runs on while the store waits, and the write is done when the lock has gone."""
    store = StoredShares(f"sqlite:///{path}", StorageLimits(busy_seconds=60.0, answer_seconds=60.0))
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(store.insert(a_share()))
        for _ in range(20):
            await asyncio.sleep(0.005)
            assert not writing.done()
        other.execute("ROLLBACK")
    await writing
    assert await store.by_id("id-0001") == a_share()
    await store.close()


async def test_a_lock_of_another_program_is_told_in_time_and_harms_nothing(
    path: Path, connections: list[sqlite3.Connection]
) -> None:
    """The refusal comes after ``busy_seconds``; then all is as before."""
    defaults = StorageLimits()
    assert defaults.busy_seconds < defaults.begin_seconds < defaults.answer_seconds
    store = StoredShares(f"sqlite:///{path}", StorageLimits(busy_seconds=0.4))
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        [connection] = connections
        assert connection.execute("PRAGMA busy_timeout").fetchone()[0] == 400
        began = time.monotonic()
        with pytest.raises(StorageError, match="another program holds its lock"):
            await store.insert(a_share())
        assert time.monotonic() - began > 0.35
        assert await store.load_open(NOW) == []  # a writer does not keep a reader waiting
        other.execute("ROLLBACK")
    await store.insert(a_share())
    assert await store.by_id("id-0001") == a_share()
    await store.close()


async def test_a_file_that_turns_read_only_refuses_writes(
    connections: list[sqlite3.Connection], store: StoredShares
) -> None:
    """A write to what may only be read is refused, and works once it may be written."""
    [connection] = connections
    connection.execute("PRAGMA query_only = 1")  # answers as a file system that was mounted read-only
    with pytest.raises(StorageError, match="read-only"):
        await store.insert(a_share())
    connection.execute("PRAGMA query_only = 0")
    await store.insert(a_share())
    assert await store.by_id("id-0001") == a_share()


async def test_a_write_survives_a_power_cut(connections: list[sqlite3.Connection], store: StoredShares) -> None:
    """Each commit is synced to the disk (FULL, 2) and the file is a WAL database: neither is SQLite's default."""
    [connection] = connections
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_an_error_of_the_driver_holds_no_value(path: Path) -> None:
    """Should one ever reach a traceback, the row is not in it."""
    engine = open_database(f"sqlite:///{path}", [SHARES], StorageLimits())
    row = to_row(a_share(label="hush"))
    with engine.begin() as connection:
        connection.execute(insert(shares), row)
        with pytest.raises(IntegrityError) as caught:
            connection.execute(insert(shares), row)
    assert "hush" not in str(caught.value)
    engine.dispose()


async def test_the_file_is_only_for_its_user(path: Path, store: StoredShares) -> None:
    """The database and the files that SQLite puts beside it have mode 0600."""
    await store.insert(a_share())
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == [path.name, f"{path.name}-shm", f"{path.name}-wal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


# --- at the start --------------------------------------------------------------------------------------


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder is not made for the operator: a mistyped one would hide where the shares are."""
    assert f"the folder {tmp_path}/none does not exist" in await refused(f"sqlite:///{tmp_path}/none/shares.sqlite3")


async def test_a_folder_that_takes_no_file_is_told() -> None:
    """Where no file can be made, the text says what to do."""
    text = await refused("sqlite:////proc/shares.sqlite3")  # not even root makes a file there
    assert text.startswith("the database /proc/shares.sqlite3 cannot be created")
    assert "let this user write to its folder" in text


async def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    """A path that is a folder is no database."""
    assert "cannot be opened" in await refused(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_a_read_only_database_does_not_start(path: Path, mode: str) -> None:
    """Also when it is in its newest form already, so that only a later write would have failed."""
    await fill(path, 1)
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
    text = await refused(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert "let this user" in text
    assert "read-only" in text or "cannot be opened" in text


async def test_what_is_no_database_is_left_alone(path: Path) -> None:
    """Another program's file is neither used nor changed."""
    content = b"%PDF-1.7 " * 1000
    change(path, lambda _: content)
    assert "not an SQLite database" in await refused(f"sqlite:///{path}")
    assert change(path, lambda data: data) == content


async def test_a_damaged_file_does_not_start(path: Path) -> None:
    """Overwritten pages are found at the start and not by the first viewer."""
    await fill(path)
    change(path, lambda data: data[: 2 * PAGE] + b"\x5a" * 2 * PAGE + data[4 * PAGE :])
    assert "put a backup in its place" in await refused(f"sqlite:///{path}")


async def test_a_truncated_file_does_not_start(path: Path) -> None:
    """Nor does half a copy."""
    await fill(path)
    change(path, lambda data: data[: len(data) // PAGE // 2 * PAGE])
    assert "put a backup in its place" in await refused(f"sqlite:///{path}")


async def test_a_database_of_a_newer_release_is_left_alone(path: Path) -> None:
    """An older release neither reads nor changes tables that it does not know."""
    await fill(path, 1)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
        other.commit()
    assert "made by a newer release of telemetry-bridge (9999)" in await refused(f"sqlite:///{path}")


async def test_a_lock_at_the_start_is_told(path: Path) -> None:
    """Another program that keeps the file to itself is named as the cause."""
    await fill(path, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another program holds its lock" in await refused(f"sqlite:///{path}", StorageLimits(busy_seconds=0.05))


async def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL without psycopg: the text names the extra to install, and no password."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    text = await refused("postgresql://bridge:hush@localhost/shares")
    assert "telemetry-bridge[postgresql]" in text
    assert "hush" not in text


@pytest.mark.parametrize("url", ["mysql://u:hush@h/d", "postgresql://u:hush@h", "nonsense", "sqlite:///x?timeout=hush"])
async def test_a_wrong_url_is_told_without_its_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is refused before anything is opened or made."""
    monkeypatch.chdir(tmp_path)
    text = await refused(url)
    assert "BRIDGE_DATABASE_URL" in text
    assert "hush" not in text
    assert files_in(tmp_path) == []
