"""A real Mosquitto for tests: its own folder, free loopback ports, and an end with the test.

Everything here blocks for some milliseconds; on an event loop call it through ``asyncio.to_thread`` when that
matters, except ``start()``: the kernel ends Mosquitto with the thread that started it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.environment import environment, find_program
from tests.ports import free_port

REPOSITORY: Final = Path(__file__).resolve().parent.parent
SHIPPED: Final = REPOSITORY / "mosquitto"

START_SECONDS: Final = 60.0
"""From exec to the line "running" in the log; 20 ms when the machine is idle."""
STOP_SECONDS: Final = 60.0
"""From SIGTERM to exit; then SIGKILL."""
CLIENT_SECONDS: Final = 60.0
"""For mosquitto_pub or mosquitto_sub, all its messages included."""
POLL_SECONDS: Final = 0.005
PORT_ATTEMPTS: Final = 5
"""A free port can be taken between our look and Mosquitto's bind."""


class MosquittoError(Exception):
    """Mosquitto did not start. The text ends with its log."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What ``mosquitto/make-credentials`` made: a folder of files, and each user's password."""

    folder: Path
    passwords: Mapping[str, str]

    @property
    def ca_file(self) -> Path:
        """The private authority's certificate, in PEM."""
        return self.folder / "ca.crt"


def make_credentials(folder: Path, *users: str, hosts: Sequence[str] = ()) -> Credentials:
    """Run the shipped script. Raises CalledProcessError, with its text in ``stderr``, when it refuses."""
    arguments = [argument for host in hosts for argument in ("--host", host)]
    done = subprocess.run(
        [SHIPPED / "make-credentials", folder, *arguments, *users],
        check=True, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    return Credentials(folder, dict(line.split(" ") for line in done.stdout.splitlines()))


class MosquittoServer:
    """One Mosquitto process, by default open to everyone on a loopback port.

    ``credentials`` asks for a password, and with ``acl`` also for the shipped access rules. ``tls`` adds a TLS
    listener, ``websockets`` a WebSocket one. ``shipped`` runs the configuration in ``mosquitto/`` itself, with only
    its paths and ports replaced; it needs credentials. ``extra`` are more lines of configuration.

    The ports stay the same over any number of stops and starts. As a context manager it starts and stops.
    """

    def __init__(
        self,
        folder: Path,
        *,
        credentials: Credentials | None = None,
        acl: bool = False,
        tls: bool = False,
        websockets: bool = False,
        shipped: bool = False,
        extra: Sequence[str] = (),
    ) -> None:
        if (acl or tls or shipped) and credentials is None:
            raise ValueError("access rules and TLS need credentials")
        self.folder = folder
        self.credentials = credentials
        self.shipped = shipped
        self.log_file = folder / "mosquitto.log"
        self._acl = acl
        self._with_tls = tls or shipped
        self._with_websockets = websockets
        self._extra = tuple(extra)
        self._process: subprocess.Popen[bytes] | None = None
        self._choose_ports()

    def _choose_ports(self) -> None:
        self.port = free_port()
        self.tls_port = free_port() if self._with_tls else 0
        self.websocket_port = free_port() if self._with_websockets else 0

    # --- addresses -------------------------------------------------------------------------------------

    def url(self, user: str | None = None) -> str:
        """``mqtt://[user:password@]127.0.0.1:port``, the password that of ``credentials``."""
        return f"mqtt://{self._userinfo(user)}127.0.0.1:{self.port}"

    def tls_url(self, user: str | None = None) -> str:
        """The same for the TLS listener: ``mqtts://…``; trust ``credentials.ca_file``."""
        return f"mqtts://{self._userinfo(user)}localhost:{self.tls_port}"

    def _userinfo(self, user: str | None) -> str:
        return "" if user is None else f"{user}:{self._password(user)}@"

    def _password(self, user: str) -> str:
        if self.credentials is None:
            raise ValueError("this Mosquitto asks for no password")
        return self.credentials.passwords[user]

    # --- life ------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process id, or None while none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def log(self) -> str:
        """What Mosquitto has logged since the last start."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Start, and return when every listener takes connections. Raises MosquittoError when it does not come up."""
        if self.pid is not None:
            raise RuntimeError("already running")
        first = self._process is None
        text = ""
        for _ in range(PORT_ATTEMPTS):
            self._spawn()
            if self._came_up():
                return
            text = self.log()
            self.kill()
            if not first or "Address already in use" not in text:
                break
            self._choose_ports()
        raise MosquittoError(f"Mosquitto did not start; its log:\n{text}")

    def _spawn(self) -> None:
        program = find_program("mosquitto")
        if program is None:
            raise MosquittoError("mosquitto is not installed")
        config = self.folder / "mosquitto.conf"
        config.write_text(self._shipped_config() if self.shipped else self._config())
        command = [program, "-c", str(config)]
        # Should the test process be killed, the kernel ends Mosquitto too; setpriv is part of util-linux.
        if setpriv := find_program("setpriv"):
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _came_up(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.pid is not None:
            # Written after the last listener is bound (mosquitto 2.0 src/mosquitto.c).
            if " running\n" in self.log():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def stop(self) -> None:
        """End as an operator would: connections are closed, retained messages saved. Does nothing when not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End as a crash would. Does nothing when not running."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)  # a paused process takes no SIGTERM
            self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop and start on the same ports. What was retained is lost unless ``extra`` asks for persistence."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and the kernel still accepts, but nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: the end of ``pause()``."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("not running")
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- configuration ---------------------------------------------------------------------------------

    def _config(self) -> str:
        lines = ["log_dest stderr", "user root", "set_tcp_nodelay true", "persistence false"]
        lines += ["max_queued_messages 100000"]  # 1,000 are too few while a subscriber's process is held up
        if self.credentials is None:
            lines += ["allow_anonymous true"]
        else:
            lines += ["allow_anonymous false", f"password_file {self.credentials.folder / 'passwd'}"]
        if self._acl:
            lines += [f"acl_file {SHIPPED / 'acl'}"]
        lines += self._extra
        lines += [f"listener {self.port} 127.0.0.1"]
        if self._with_tls and self.credentials is not None:
            lines += [f"listener {self.tls_port} 127.0.0.1"]
            lines += [f"certfile {self.credentials.folder / 'server.crt'}"]
            lines += [f"keyfile {self.credentials.folder / 'server.key'}"]
        if self._with_websockets:
            lines += [f"listener {self.websocket_port} 127.0.0.1", "protocol websockets"]
        return "\n".join([*lines, ""])

    def _shipped_config(self) -> str:
        """``mosquitto/`` and the credentials copied into our folder, with this machine's paths and ports put in."""
        assert self.credentials is not None
        site = self.folder / "site"
        for folder in (site / "conf.d", site / "data"):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("passwd", "server.crt", "server.key"):
            shutil.copy(self.credentials.folder / name, site)
        shutil.copy(SHIPPED / "acl", site)
        persistence = (SHIPPED / "conf.d" / "persistence.conf").read_text()
        (site / "conf.d" / "persistence.conf").write_text(_replace(persistence, "/var/lib/mosquitto/", f"{site}/data/"))
        config = (SHIPPED / "mosquitto.conf").read_text()
        config = _replace(config, " /etc/mosquitto/", f" {site}/")
        config = _replace(config, "listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1")
        config = _replace(config, "listener 8883\n", f"listener {self.tls_port} 127.0.0.1\n")
        return "\n".join([config, "user root", *self._extra, ""])

    # --- clients ---------------------------------------------------------------------------------------

    def publish(
        self, topic: str, payload: bytes | str, *, user: str | None = None, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish one message and return when Mosquitto has it. Raises CalledProcessError when it refuses."""
        data = payload.encode() if isinstance(payload, str) else payload
        retained = ["--retain"] if retain else []
        self.client(
            "mosquitto_pub", "-t", topic, "-q", str(qos), *retained, "-s", user=user, data=data
        ).check_returncode()

    def client(
        self, program: str, *arguments: str, user: str | None = None, tls: bool = False, data: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``mosquitto_pub`` or ``mosquitto_sub`` against this server to its end, with ``data`` as its input."""
        path = find_program(program)
        if path is None:
            raise MosquittoError(f"{program} is not installed")
        address = ["-h", "localhost", "-p", str(self.tls_port)] if tls else ["-h", "127.0.0.1", "-p", str(self.port)]
        login = [] if user is None else ["-u", user, "-P", self._password(user)]
        return subprocess.run(
            [path, "-V", "5", *address, *login, *arguments],
            check=False, env=environment(), input=data, capture_output=True, timeout=CLIENT_SECONDS,
        )  # fmt: skip


def _replace(text: str, old: str, new: str) -> str:
    """``str.replace`` that notices when the shipped file no longer has what is to be replaced."""
    if old not in text:
        raise ValueError(f"the shipped configuration has no {old!r}")
    return text.replace(old, new)
