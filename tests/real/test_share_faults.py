"""Share links when the database, its disk or the process fails. Everything is real."""

from __future__ import annotations

import http.client
import os
import random
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.environment import environment
from tests.mosquitto import MosquittoServer
from tests.parts import lacking
from tests.ports import free_port
from tests.real.conftest import StartSharing, need
from tests.serving import KEY, SHARE_KEY, Serving, run
from tests.sharing import Answer, Sharing, Viewer, disk_of, seed
from tests.tokens import PUBLIC_KEY
from tests.waiting import wait_until

ROUNDS = 3
"""Of kill -9 in a burst; each costs a start."""
WRITERS = 4
START_SECONDS = 60.0
SECRET = "hunter-2-of-the-database"


@pytest.fixture
def sharing(mosquitto: MosquittoServer, start_sharing: StartSharing) -> Sharing:
    """A server on an SQLite file."""
    return start_sharing(mosquitto)


def is_storage_unavailable(answer: Answer) -> bool:
    """What every operator reads of a failed database."""
    return (answer[0], answer[1].get("code")) == (503, "storage_unavailable")


def check_alive(mosquitto: MosquittoServer, viewer: Viewer, lat: float) -> None:
    """The next position arrives at a viewer who came before."""
    mosquitto.publish("fleet/truck-1", seed("truck-1", lat, 2, ahead=lat))
    while viewer.message()["data"]["lat"] != lat:
        pass


def check_refusals(sharing: Sharing, share: dict[str, Any]) -> None:
    """Create, change and revoke are 503, whoever else waits; the share is as it was and opens."""
    calls: list[tuple[str, str, object]] = [
        ("POST", "", {"device_ids": ["truck-1"], "expires_in": 60, "label": "Label-Lost"}),
        ("PATCH", f"/{share['id']}", {"label": "Label-Lost"}),
        ("DELETE", f"/{share['id']}", None),
    ]
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda call: sharing.operate(*call), calls))
    assert [is_storage_unavailable(answer) for answer in answers] == [True] * 3, answers
    status, shown = sharing.init(share["code"])
    assert (status, shown["share"]["label"]) == (200, share["label"])


def check_recovered(sharing: Sharing, share: dict[str, Any], count: int) -> None:
    """All calls work again, and of what was refused nothing was done."""
    assert len(sharing.operate("GET")[1]["shares"]) == count
    status, shown = sharing.operate("PATCH", f"/{share['id']}", {"max_viewers": 9})
    assert (status, shown["label"], shown["status"]) == (200, share["label"], "active")
    sharing.create(label="Label-After")
    assert sharing.operate("DELETE", f"/{share['id']}")[1]["status"] == "revoked"
    assert sharing.init(share["code"])[0] == 410


def test_a_locked_database_stops_no_stream(mosquitto: MosquittoServer, sharing: Sharing) -> None:
    """Another process holds the lock: changes are 503, streams and open links go on, and all works when it lets go."""
    share = sharing.create(label="Label-Locked")
    viewer = sharing.view(share["code"])
    sharing.keep_secret("Label-Lost")
    other = sqlite3.connect(sharing.folder / "shares.sqlite3", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        check_refusals(sharing, share)
        check_alive(mosquitto, viewer, 1)
        second = sharing.view(share["code"])
        check_alive(mosquitto, second, 2)
        assert sharing.operate("GET", f"/{share['id']}")[0] == 200
    finally:
        other.close()
    check_recovered(sharing, share, 1)
    assert (viewer.end(), second.end()) == (1008, 1008)
    wait_until(lambda: "another program holds its lock" in sharing.log(), what=sharing.log)
    assert sharing.end() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        away = disk_of(folder, "1m")
    except (subprocess.CalledProcessError, FileNotFoundError):
        lacking("a small disk can be mounted by root only, or with sudo")
    yield folder
    away()


def fill_disk(folder: Path) -> Path:
    """Take all its room; returns the file to delete."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return filler


def test_a_full_disk_stops_no_stream(mosquitto: MosquittoServer, start_sharing: StartSharing, small_disk: Path) -> None:
    """503 until there is room; and a start on a full disk says so in one line."""
    url = f"sqlite:///{small_disk}/shares.sqlite3"
    sharing = start_sharing(mosquitto, database_url=url)
    share = sharing.create(label="Label-Full")
    viewer = sharing.view(share["code"])
    filler = fill_disk(small_disk)
    sharing.keep_secret("Label-Lost")
    more = 1
    while not is_storage_unavailable(answer := sharing.operate("POST", "", {"device_ids": ["A"], "expires_in": 60})):
        assert answer[0] == 201  # there was room in the last page
        more += 1
        assert more < 50
    check_refusals(sharing, share)
    check_alive(mosquitto, viewer, 1)
    assert sharing.operate("GET", f"/{share['id']}")[1]["status"] == "active"
    wait_until(lambda: "the disk is full: make room" in sharing.log(), what=sharing.log)
    filler.unlink()
    check_recovered(sharing, share, more)
    assert viewer.end() == 1008
    assert sharing.end() == 0
    filler = fill_disk(small_disk)
    status, line = refused(sharing)
    assert status == 1
    assert "the disk is full" in line
    filler.unlink()
    sharing.restart()
    assert sharing.init(share["code"])[1]["code"] == "share_revoked"


def test_a_file_that_may_not_grow_stops_no_stream(mosquitto: MosquittoServer, sharing: Sharing) -> None:
    """A limit on file sizes, met in the midst of writing, by the log as well: 503, and all works without it."""
    need("prlimit")
    share = sharing.create(label="Label-Small")
    viewer = sharing.view(share["code"])
    sharing.keep_secret("Label-Lost")
    limit(sharing, "0")
    check_refusals(sharing, share)
    check_alive(mosquitto, viewer, 1)
    limit(sharing, "unlimited")
    check_recovered(sharing, share, 1)
    assert viewer.end() == 1008
    assert sharing.end() == 0


def limit(sharing: Sharing, size: str) -> None:
    """How large a file the running server may write."""
    subprocess.run(["prlimit", "--pid", str(sharing.running.pid), f"--fsize={size}:"], env=environment(), check=True)


def test_what_was_answered_survives_a_kill(sharing: Sharing) -> None:
    """After kill -9 in a burst nothing that was revoked is open, and nothing that was made is missing."""
    chance = random.Random(7)
    made: dict[str, dict[str, Any]] = {}
    tried: set[str] = set()
    revoked: set[str] = set()

    def burst(number: int) -> None:
        try:
            while True:
                status, share = sharing.operate("POST", "", {"device_ids": [f"d{number}"], "expires_in": 3600})
                assert status == 201, share
                made[share["id"]] = share
                if len(made) % 2:
                    tried.add(share["id"])
                    assert sharing.operate("DELETE", f"/{share['id']}")[0] == 200
                    revoked.add(share["id"])
        except (OSError, http.client.HTTPException, ValueError):  # killed
            return

    for _ in range(ROUNDS):
        enough = len(made) + chance.randrange(5, 40)
        with ThreadPoolExecutor(WRITERS) as threads:
            writers = [threads.submit(burst, number) for number in range(WRITERS)]
            wait_until(lambda: len(made) >= enough)  # noqa: B023 - called here only
            assert sharing.end(signal.SIGKILL) == -signal.SIGKILL
            for writer in writers:
                writer.result()
        sharing.restart()
        for share_id, share in made.items():
            status = sharing.operate("GET", f"/{share_id}")[1].get("status")
            if share_id in revoked:
                assert status == "revoked"
            elif share_id not in tried:
                assert status == "active"
            assert status in ("active", "revoked")
            assert sharing.init(share["url"].rpartition("/")[2])[0] == (200 if status == "active" else 410)
    assert revoked and len(made) > len(tried)


# --- starts that must not be -----------------------------------------------------------------------------


def refused(serving: Serving) -> tuple[int, str]:
    """Exit status and the one line of a start that fails."""
    serving.start()
    try:
        status = serving.running.wait(START_SECONDS)
    finally:
        serving.running.kill()
        serving.running.wait()
    assert "Traceback" not in serving.log()
    assert "Listening" not in serving.log()
    assert SECRET not in serving.log()
    assert SHARE_KEY not in serving.log() and KEY not in serving.log()
    (line,) = serving.error_file.read_text().splitlines()
    return status, line


def damage(path: Path) -> None:
    """Overwrite the second half of a sound file."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 500,) for _ in range(200)])
    database.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = random.Random(7).randbytes(len(data) - len(data) // 2)
    path.write_bytes(data)


def make_read_only(path: Path) -> None:
    """A database that this user may only read."""
    sqlite3.connect(path).execute("VACUUM").connection.close()
    path.chmod(0o444)


@pytest.mark.parametrize(
    "make, words",
    [
        (damage, r"shares\.sqlite3 is damaged .*: put a backup in its place"),
        (lambda path: path.write_text("not a database, " * 100), "the file is not an SQLite database"),
        (lambda path: path.mkdir(), "the file cannot be opened"),
        (make_read_only, "it is read-only: let this user write"),
    ],
    ids=["damaged", "text", "folder", "read-only"],
)
def test_a_database_that_cannot_be_used_stops_the_start(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    """Exit status 1, and one line with the file, what is wrong with it and what to do."""
    path = tmp_path / "shares.sqlite3"
    make(path)
    # Root may write whatever it likes, unless it gives that up.
    prefix = ("setpriv", "--bounding-set=-dac_override") if os.getuid() == 0 else ()
    status, line = refused(Serving(tmp_path, shares=True, prefix=prefix))
    assert status == 1
    assert re.search(words, line), line
    assert str(path) in line


@pytest.mark.parametrize(
    "settings, status, words",
    [
        ({"database_url": "sqlite:////no/such/folder/x.sqlite3"}, 1, "the folder /no/such/folder does not exist"),
        ({"database_url": f"postgresql://u:{SECRET}@127.0.0.1:{free_port()}/x"}, 1, "cannot be used"),
        ({"database_url": f"mysql://u:{SECRET}@host/x"}, 2, "BRIDGE_DATABASE_URL: write sqlite:///path or postgresql"),
        ({"share_keys": KEY}, 2, "BRIDGE_SHARE_KEYS: a key is also in BRIDGE_ACCESS_KEYS"),
        ({"share_keys": f"{SHARE_KEY},{PUBLIC_KEY}"}, 2, "BRIDGE_SHARE_KEYS: .*k4.local"),
    ],
    ids=["folder", "postgresql", "scheme", "access key", "public key"],
)
def test_wrong_settings_stop_the_start(tmp_path: Path, settings: dict[str, Any], status: int, words: str) -> None:
    """One line that names the setting, and holds no password and no key; ``check`` finds what is 2 as well."""
    told = refused(Serving(tmp_path, shares=True, **settings))
    assert told[0] == status
    assert re.search(words, told[1]), told[1]
    if status == 2:
        given = {"BRIDGE_ACCESS_KEYS": KEY, "BRIDGE_SHARE_KEYS": SHARE_KEY, "BRIDGE_PORT": "0"}
        given |= {f"BRIDGE_{name.upper()}": value for name, value in settings.items()}
        done = run("check", folder=tmp_path, **given)
        assert (done.returncode, done.stderr) == (2, told[1] + "\n")
