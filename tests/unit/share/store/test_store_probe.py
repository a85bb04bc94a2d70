"""``telemetry-bridge check`` looks at the database and changes nothing."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from bridge.core.errors import StartError
from bridge.storage.limits import StorageLimits
from bridge.storage.opening import probe_database
from share.store.migrations import SHARES
from tests.share_store import StoredShares


def probe(url: str) -> str:
    """The name of the database, looked at as the command does."""
    return probe_database(url, [SHARES], StorageLimits())


def files(folder: Path) -> list[Path]:
    """What is there."""
    return list(folder.iterdir())


async def test_probe_of_a_database_in_use_says_its_name(tmp_path: Path) -> None:
    """Beside a server that has it open; the file stays byte for byte."""
    path = tmp_path / "shares.sqlite3"
    # It takes its own -wal and -shm away when it is done.
    store = StoredShares(f"sqlite:///{path}", StorageLimits(close_seconds=30.0))
    await store.open()
    before = path.read_bytes()
    assert str(path) in probe(f"sqlite:///{path}")
    assert path.read_bytes() == before
    await store.close()
    assert str(path) in probe(f"sqlite:///{path}")
    assert files(tmp_path) == [path]  # no -wal and -shm of whoever asked


def test_probe_makes_no_file(tmp_path: Path) -> None:
    """It only says that one could be made."""
    probe(f"sqlite:///{tmp_path}/new.sqlite3")
    probe("sqlite://")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "content, reason",
    [(None, "does not exist"), (b"not a database, but long enough to look at" * 40, "cannot be used")],
)
def test_probe_says_what_would_stop_the_start(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """In the words of the start itself."""
    path = tmp_path / ("missing/x.sqlite3" if content is None else "x.sqlite3")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartError, match=reason):
        probe(f"sqlite:///{path}")


def test_probe_of_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, and nothing stops root."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StartError, match="cannot be written"):
        probe(f"sqlite:///{tmp_path}/x.sqlite3")


def test_probe_of_a_server_that_is_not_there() -> None:
    """PostgreSQL on a port where nobody listens; no password in the answer."""
    with pytest.raises(StartError, match="cannot be used") as caught:
        probe("postgresql://ana:secret@127.0.0.1:1/telemetry")
    assert "secret" not in str(caught.value)


async def test_probe_of_a_newer_release_s_database(tmp_path: Path) -> None:
    """The start would refuse it, so the check does."""
    path = tmp_path / "shares.sqlite3"
    store = StoredShares(f"sqlite:///{path}")
    await store.open()
    await store.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    with pytest.raises(StartError, match="newer release"):
        probe(f"sqlite:///{path}")


def test_probe_of_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line and no traceback; the tests may run as root, and nothing stops root."""

    def refused(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refused)
    with pytest.raises(StartError, match="cannot be reached"):
        probe(f"sqlite:///{tmp_path}/x.sqlite3")
