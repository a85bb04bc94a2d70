"""A real PostgreSQL for tests: its own folder, a free loopback port, and an end with the test.

Everything here blocks for some milliseconds. Start it from the main thread: the kernel ends PostgreSQL with the thread
that started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.environment import SEARCH_PATH, environment, find_program
from tests.ports import free_port

START_SECONDS: Final = 60.0
"""From exec to the line "ready to accept connections"; 0.2 s when the machine is idle."""
STOP_SECONDS: Final = 60.0
"""From SIGINT (fast shutdown) to exit; then SIGKILL."""
POLL_SECONDS: Final = 0.01
NOBODY: Final = 65_534
"""PostgreSQL refuses to run as root; this user and group own nothing else."""
PASSWORD: Final = "hush-4711"
"""Throw-away, of the one user ``bridge``. No error and no log line may hold it."""


class PostgreSQLError(Exception):
    """PostgreSQL did not start. The text ends with its log."""


def find_postgresql(name: str) -> str | None:
    """The path of an installed program, or None. Debian keeps the server's out of everybody's PATH."""
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, newest_first), SEARCH_PATH]))


class PostgreSQLServer:
    """One PostgreSQL process with the user ``bridge`` and its empty database ``shares``.

    As a context manager it is made and started, and in the end stopped and removed. The port stays the same over any
    number of stops and starts.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "shares", *, password: str = PASSWORD) -> str:
        """``postgresql://bridge:password@127.0.0.1:port/database``."""
        return f"postgresql://bridge:{password}@127.0.0.1:{self.port}/{database}"

    def log(self) -> str:
        """What PostgreSQL has logged since it was made."""
        file = self._folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> None:
        """Start, and return when it takes connections. Raises PostgreSQLError when it does not come up."""
        # What a power cut would do to it is not ours to test: no fsync. And no sessions but those of the tests.
        options = "-c fsync=off -c autovacuum=off -c unix_socket_directories= -c listen_addresses=127.0.0.1"
        options += f" -c port={self.port}"
        command = [_program("postgres"), "-D", str(self._folder / "data"), *options.split(" ")]
        # Should the test process be killed, the kernel ends PostgreSQL too; setpriv is part of util-linux.
        if setpriv := find_program("setpriv"):
            command = [setpriv, "--pdeathsig", "KILL", *command]
        before = self.log().count(" ready to accept connections")
        with (self._folder / "log").open("ab") as log:
            user, groups = _user()
            self._process = subprocess.Popen(
                command, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
                user=user, group=user, extra_groups=groups,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while self.log().count(" ready to accept connections") == before:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise PostgreSQLError(f"PostgreSQL did not start; its log:\n{self.log()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End as an operator would: every session is ended. Does nothing when not running."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def create_database(self, name: str) -> None:
        """An empty database more, owned by ``bridge``."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())

    def __enter__(self) -> Self:
        # Not pytest's folder: only root may enter that, and PostgreSQL runs as somebody else.
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        try:
            self._make()
            self.start()
            self.create_database("shares")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (self._folder, secret):
                os.chown(path, NOBODY, NOBODY)
        user, groups = _user()
        done = subprocess.run(
            [
                _program("initdb"), "-D", str(self._folder / "data"), "-U", "bridge", f"--pwfile={secret}",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
            ],
            check=False, env=environment(), capture_output=True, text=True, cwd=self._folder,
            user=user, group=user, extra_groups=groups,
        )  # fmt: skip
        if done.returncode != 0:
            raise PostgreSQLError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)


def _program(name: str) -> str:
    path = find_postgresql(name)
    if path is None:
        raise PostgreSQLError(f"{name} is not installed")
    return path


def _user() -> tuple[int | None, list[int] | None]:
    """The account that PostgreSQL runs as: user (and group) and further groups; None leaves them as they are."""
    return (NOBODY, []) if os.getuid() == 0 else (None, None)
