"""A server with share links, asked as operators and viewers ask, that tells whether its log kept their secrets."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from bridge.core.times import parse_time
from tests.environment import environment
from tests.mosquitto import MosquittoServer
from tests.ports import free_port
from tests.serving import KEY, SHARE_KEY, Serving, make_token, run
from tests.sockets import LeanSocket
from tests.waiting import DEADLINE_SECONDS, wait_until

SHARES = "/api/v1/shares"
PUBLIC = "/api/v1/public/share-location"
SECONDS = 60.0
FLOOD_LINES = 2_000
"""Positions that are published at once to fill a socket that is not read: 300 KiB and more."""
TRIES = 5
"""Of what has to happen within a promised time."""
NO_WORD = 1006
"""The connection is gone, and there was no Close frame."""
Answer = tuple[int, dict[str, Any]]
log = logging.getLogger("tests.sharing")


class Sharing(Serving):
    """A ``Serving`` with share links on a port that stays, every detail logged and no bound on requests.

    What must not stand in its log is noted in ``secrets`` as it is made; ``check_log`` looks at all logs of it.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        given = {"log_level": "DEBUG", "public_requests_per_minute": 0, "handshakes_per_second": 0, **options}
        super().__init__(folder, shares=True, **{"port": free_port(), **given})
        self.token = make_token(scopes=("stream", "share"))
        self.secrets = {KEY, SHARE_KEY, self.token}
        self._earlier = ""
        self._sockets = ExitStack()

    # --- its life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.log_file.exists():
            self._earlier += self.log()
        super().start()

    def restart(self) -> None:
        """Start once more what has ended, with the same settings and on the same port."""
        self.start()
        self.wait_listening()

    def __exit__(self, *error: Any) -> None:
        self._sockets.close()
        super().__exit__(*error)

    def check_log(self) -> None:
        """Nothing that opens or names a share was ever logged, and no traceback."""
        log = self._earlier + self.log()
        for secret in self.secrets:
            # Of a token also its parts: a line may be cut.
            for part in (secret[:40], secret[-40:]):
                assert part not in log, f"in the log: {part[:6]}…"
        assert "Traceback" not in log, log
        assert " ERROR " not in log, log

    # --- operators --------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: object = None, *, token: str = "", seconds: float = SECONDS) -> Answer:
        """Status and JSON body of one request, with ``token`` as the access token."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, data=data, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def operate(self, method: str, rest: str = "", body: object = None) -> Answer:
        """One of the operators' calls."""
        return self.ask(method, SHARES + rest, body, token=self.token)

    def create(self, *device_ids: str, **body: Any) -> dict[str, Any]:
        """A new share, for an hour where nothing else is said; its ``code`` beside its ``url``."""
        life = {} if "expires_at" in body else {"expires_in": 3600}
        status, share = self.operate("POST", "", {"device_ids": device_ids or ("truck-1",), **life, **body})
        assert status == 201, share
        share["code"] = share["url"].rpartition("/s/")[2]
        self.keep_secret(share["code"], body.get("label"), body.get("password"), *body.get("aliases", {}).values())
        return share

    def keep_secret(self, *texts: str | None) -> None:
        """These must never be logged."""
        self.secrets.update(filter(None, texts))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``telemetry-bridge share …``, in a shell that has the address and the token of this server."""
        address = {"TELEMETRY_BRIDGE_URL": f"http://127.0.0.1:{self.port}", "TELEMETRY_BRIDGE_TOKEN": self.token}
        return run("share", *arguments, folder=self.folder, **address)

    # --- viewers ----------------------------------------------------------------------------------------

    def init(self, code: str, password: str | None = None) -> Answer:
        """What the code of a link is exchanged for."""
        self.keep_secret(code, password)
        status, answer = self.ask(
            "POST", f"{PUBLIC}/init", {"code": code, **({"password": password} if password else {})}
        )
        self.keep_secret(answer.get("token"))
        return status, answer

    def view(self, code: str, password: str | None = None) -> Viewer:
        """A viewer who has been greeted. Closed with the server."""
        status, answer = self.init(code, password)
        assert status == 200, answer
        socket = connect(f"{answer['stream_url']}?token={answer['token']}", open_timeout=SECONDS, close_timeout=1)
        viewer = Viewer(self._sockets.enter_context(socket))
        viewer.until("hello")
        return viewer

    def stare(self, code: str) -> LeanSocket:
        """A viewer who never reads. Closed with the server."""
        status, answer = self.init(code)
        assert status == 200, answer
        return self._sockets.enter_context(
            closing(LeanSocket(self.port, f"{PUBLIC}/stream", answer["token"], receive_bytes=2048))
        )

    def fill(
        self, mosquitto: MosquittoServer, device_id: str, sockets: int = 1, seconds: float = DEADLINE_SECONDS
    ) -> None:
        """Publish until so many sockets take no more; none of it is still under way then."""
        lines = "".join(seed(device_id, 10 + n / 1e4, 20, ahead=n / 1e3) + "\n" for n in range(FLOOD_LINES))

        def stuck() -> bool:
            goal = self.stats()["total_messages_processed"] + FLOOD_LINES
            mosquitto.client("mosquitto_pub", "-t", "fleet/fill", "-l", data=lines.encode()).check_returncode()
            wait_until(lambda: self.stats()["total_messages_processed"] >= goal)
            return bool(self.stats()["broker"]["behind"] >= sockets)

        wait_until(stuck, seconds, what=lambda: self.stats()["broker"])


class Viewer:
    """The page in place of a browser: a WebSocket of the ``websockets`` package, and what came."""

    def __init__(self, socket: Connection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    def until(self, name: str, seconds: float = SECONDS, **members: object) -> dict[str, Any]:
        """The next event of that name with these members; what comes before is kept in ``events``."""
        deadline = time.monotonic() + seconds
        while True:
            event = json.loads(self.socket.recv(max(0.0, deadline - time.monotonic())))
            self.events.append(event)
            if event["event"] == name and members.items() <= event.items():
                return dict(event)

    def message(self, seconds: float = SECONDS) -> dict[str, Any]:
        """The next position."""
        return self.until("message", seconds)

    def end(self, seconds: float = SECONDS) -> int:
        """The close code, when the server has closed; what comes before is kept in ``events``."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self.events.append(json.loads(self.socket.recv(max(0.0, deadline - time.monotonic()))))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else NO_WORD


def check_quick(what: str, seconds: float, limit: float) -> None:
    """That something took no longer than ``limit``, and not less than nothing; shown by ``--log-cli-level=INFO``."""
    log.info("%s: %.0f ms of %.0f", what, seconds * 1000, limit * 1000)
    assert 0 <= seconds < limit, f"{what}: {seconds:.3f} s"


def check_promise(what: str, limit: float, measure: Callable[[], float]) -> None:
    """One of TRIES is measured below ``limit`` seconds: a busy machine misses it at times.

    So would a bug that is late by chance: that nothing is, the functional tests show with clocks that they move.
    """
    tries: list[float] = []
    while not tries or tries[-1] >= limit:
        assert len(tries) < TRIES, f"{what}: never within {limit:g} s but {tries}"
        tries.append(measure())
        log.info("%s: %.0f ms of %.0f", what, tries[-1] * 1000, limit * 1000)
        assert tries[-1] >= 0, f"{what}: too early"


def is_cut(sock: LeanSocket) -> bool:
    """Whether the connection of a socket is gone; found out without reading."""
    poller = select.poll()
    poller.register(sock, select.POLLERR | select.POLLHUP)
    return bool(poller.poll(0))


def seed(device_id: str, lat: float, lon: float, *, ahead: float = 1.0, **more: object) -> str:
    """A position measured ``ahead`` seconds from now: whole-second clocks may show the second before the start."""
    data = {"DEVICE_ID": device_id, "LAT": round(lat, 6), "LON": round(lon, 6), **more}
    return json.dumps({"timestamp": clock_text(time.time() + ahead), "data": data})


def clock_text(at: float) -> str:
    """RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: object) -> float:
    """Unix seconds of a time in an answer."""
    return parse_time(text)


def disk_of(folder: Path, size: str) -> Callable[[], None]:
    """Make ``folder`` a disk of that size; returns what takes it away again. CalledProcessError without the right."""
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    mode = f"size={size},mode=0777"
    command = [*sudo, "mount", "-t", "tmpfs", "-o", mode, "tmpfs", str(folder)]
    subprocess.run(command, env=environment(), check=True, capture_output=True)

    def away() -> None:
        subprocess.run([*sudo, "umount", "--lazy", str(folder)], env=environment(), check=True)

    return away
