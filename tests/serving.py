"""The commands of telemetry-bridge as separate processes, as a person runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.access.authenticator import mint
from bridge.access.paseto import KeyRing, generate_key
from tests.environment import environment, find_program
from tests.waiting import wait_until

START_SECONDS = 60.0
"""From start to the line ``Listening on``: imports take a second on an idle machine."""
REAP_SECONDS = 60.0
RUN_SECONDS = 120.0
"""For a command that ends by itself."""
ANSWER_SECONDS = 30.0
"""For one HTTP request."""
KEY = generate_key()
SHARE_KEY = generate_key()


def command() -> list[str]:
    """The installed command where there is one, else the package run as a module."""
    script = Path(sys.executable).with_name("telemetry-bridge")
    return [str(script)] if script.exists() else [sys.executable, "-m", "bridge"]


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with the settings in ``variables`` and ``folder`` as its working directory."""
    return subprocess.run(
        [*command(), *arguments],
        check=False, cwd=folder, env=environment(**variables), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=RUN_SECONDS,
    )  # fmt: skip


def make_token(*devices: str, ttl: float = 3600.0, subject: str = "tester", scopes: Sequence[str] = ("stream",)) -> str:
    """An access token of a server that has ``KEY``; for every device when none is named."""
    return mint(
        KeyRing([KEY]), subject=subject, devices=devices or ("*",), groups=[], scopes=scopes, ttl=ttl,
        now=time.time(),
    )  # fmt: skip


class Process:
    """A command that runs until it is ended. Its output goes to a file, so that it never blocks.

    As a context manager it is started, and gone and reaped at the end, whatever happened.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        prefix: Sequence[str] = (),
        program: Sequence[str] = (),
        stdout: int | None = None,
        name: str = "process",
        **variables: str,
    ) -> None:
        """``prefix`` runs the command through another, ``program`` runs instead of it.

        ``stdout`` is a file descriptor instead of the log file.
        """
        self.folder = folder
        self.log_file = folder / f"{name}.log"
        self.error_file = folder / f"{name}.err"
        # Should the test process be killed, the kernel ends this one too; setpriv is part of util-linux.
        setpriv = find_program("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        self._command = [*guard, *prefix, *(program or command()), *arguments]
        self._variables = variables
        self._stdout = stdout
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start without waiting."""
        with self.log_file.open("wb") as out, self.error_file.open("wb") as err:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=environment(**self._variables), stdin=subprocess.DEVNULL,
                stdout=out if self._stdout is None else self._stdout, stderr=err,
            )  # fmt: skip

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process. It must have been started."""
        assert self.process is not None
        return self.process

    def log(self) -> str:
        """All that it has written: stdout, then stderr."""
        return self.log_file.read_text(errors="replace") + self.error_file.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait until the output holds ``pattern``; fail at once when the process ends before."""

        def found() -> re.Match[str] | None:
            ended = self.running.poll() is not None
            match = re.search(pattern, self.log())
            assert match or not ended, f"ended with {self.running.returncode} before {pattern!r}:\n{self.log()}"
            return match

        match = wait_until(found, seconds, self.log)
        assert match is not None
        return match

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = REAP_SECONDS) -> int:
        """Send a signal and give the exit status; TimeoutExpired when there is none in ``seconds``."""
        self.running.send_signal(number)
        return self.running.wait(seconds)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running.poll() is None:
            self.running.kill()
            self.running.wait()

    # --- what the kernel knows about it -----------------------------------------------------------------

    def rss_bytes(self) -> int:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.running.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def threads(self) -> int:
        """How many threads it has."""
        return sum(1 for _ in Path(f"/proc/{self.running.pid}/task").iterdir())

    def files(self) -> dict[int, str]:
        """Its open files: descriptor to what it leads to."""
        folder = Path(f"/proc/{self.running.pid}/fd")
        found: dict[int, str] = {}
        for entry in folder.iterdir():
            try:
                found[int(entry.name)] = str(entry.readlink())
            except FileNotFoundError:  # closed meanwhile
                continue
        return found


class Serving(Process):
    """``telemetry-bridge serve`` on a free port of 127.0.0.1. Settings are given without their prefix.

    With ``shares`` it has ``SHARE_KEY``, and an SQLite file in its folder where no other database is given.
    """

    def __init__(
        self,
        folder: Path,
        *,
        prefix: Sequence[str] = (),
        program: Sequence[str] = (),
        stdout: int | None = None,
        name: str = "serve",
        shares: bool = False,
        **settings: object,
    ) -> None:
        given = {"port": 0, "access_keys": KEY, **settings}
        if shares:
            given = {"share_keys": SHARE_KEY, "database_url": f"sqlite:///{folder}/shares.sqlite3", **given}
        variables = {f"BRIDGE_{key.upper()}": str(value) for key, value in given.items()}
        super().__init__(folder, "serve", prefix=prefix, program=program, stdout=stdout, name=name, **variables)
        self.port = 0

    def wait_listening(self) -> None:
        """Wait for the line that says where it listens; without one, because nobody can read it, ask the kernel."""
        if self._stdout is not None:
            self.port = wait_until(lambda: listening_port(self.files()), START_SECONDS)
            return
        self.port = int(self.wait_for(r"Listening on https?://[^ ]+:(\d+)")[1])

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until telemetry can arrive."""
        wait_until(lambda: self.get("/readyz")[0] == 200, seconds, self.log)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON body of a GET, None where the body is something else; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=ANSWER_SECONDS) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        except OSError:
            return 0, None
        try:
            return status, json.loads(body)
        except ValueError:
            return status, None

    def stats(self) -> Any:
        """What ``/api/v1/stream/stats`` answers."""
        return self.get("/api/v1/stream/stats")[1]

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.wait_listening()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self


def listening_port(files: dict[int, str]) -> int:
    """The port on which a process with these ``files`` listens over IPv4; 0 while it does not."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in files.values():
            return int(fields[1].split(":")[1], 16)
    return 0


StartServing = Callable[..., Serving]
"""Starts a ``Serving`` with settings, and waits until it listens."""
