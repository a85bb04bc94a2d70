"""Starts a program on one core, waits until it is ready, stops it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.errors import BenchError
from tests.environment import environment

START_SECONDS: Final = 20.0
"""From start to ready. NATS with JetStream takes one second, Python with all imports about as long."""
STOP_SECONDS: Final = 5.0
"""From SIGTERM to SIGKILL."""
POLL_SECONDS: Final = 0.05
LOG_LINES: Final = 15
"""Lines of a program's output that are shown when it fails."""

Ready = Callable[[], bool]


def free_port() -> int:
    """A TCP port that nothing on the loopback address listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_open(port: int) -> bool:
    """Whether something accepts connections on the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _prepare(core: int) -> None:
    """In the child, before exec: one core, and as many open files as are allowed."""
    os.sched_setaffinity(0, {core})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _wait_ready(process: subprocess.Popen[bytes], ready: Ready, name: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            what = f"ended with status {process.returncode}" if process.poll() is not None else "is not ready"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise BenchError(f"{name} {what} after the start; its output ends:\n{tail}")
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(
    command: Sequence[str], *, name: str, core: int, ready: Ready, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Runs ``command`` on ``core`` in ``folder`` and gives its process id once ``ready()`` says so.

    BenchError, with the end of its output, when it ends early or is not ready in START_SECONDS. It is
    stopped on the way out, whatever happened inside.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment() if env is None else dict(env),
            preexec_fn=lambda: _prepare(core),  # noqa: PLW1509 # this program has one thread
        )
    try:
        _wait_ready(process, ready, name, log)
        yield process.pid
    finally:
        _stop(process)
