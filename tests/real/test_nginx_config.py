"""``deploy/nginx.conf``, run by a real nginx, lets streams through and keeps tokens out of its logs."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.environment import environment, find_program
from tests.mosquitto import REPOSITORY, Credentials
from tests.ports import free_port
from tests.real.conftest import need
from tests.waiting import wait_until

START_SECONDS = 60.0
POLL_SECONDS = 0.01
TOKEN = "v4.local.this-must-not-be-logged"
HANDSHAKE = (
    f"GET /api/v1/stream?device_ids=A&token={TOKEN} HTTP/1.1\r\nHost: telemetry.example.com\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
).encode()


@dataclass
class Upstream:
    """Stands in for the bridge: answers every request with 101 and then says back what it hears."""

    listener: socket.socket
    heads: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def stop(self) -> None:
        """Listen no more; a second call does nothing."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # close() alone does not wake a thread in accept()
        self.listener.close()

    def serve(self) -> None:
        """One connection after the other, until ``stop()``."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(4096)
                self.heads.append(head.decode())
                client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                while data := client.recv(4096):
                    client.sendall(data)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A running stand-in for the bridge."""
    server = Upstream(socket.create_server(("127.0.0.1", free_port())))  # nobody else listens there after stop()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stop()
    thread.join(START_SECONDS)
    assert not thread.is_alive()


@dataclass(frozen=True)
class Nginx:
    """A running nginx with the shipped configuration."""

    folder: Path
    port: int

    def connect(self, credentials: Credentials) -> socket.socket:
        """A TLS connection to it."""
        context = ssl.create_default_context(cafile=str(credentials.ca_file))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS)
        return context.wrap_socket(plain, server_hostname="localhost")

    def logs(self) -> str:
        """Everything that it has written to any log."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
def nginx(tmp_path: Path, upstream: Upstream, credentials: Credentials) -> Iterator[Nginx]:
    """The shipped file with this machine's ports and paths, in the smallest nginx.conf around it."""
    need("nginx")
    port = free_port()
    site = (REPOSITORY / "deploy" / "nginx.conf").read_text()
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{upstream.port};",
        "/etc/ssl/telemetry.crt": f"{credentials.folder}/server.crt",
        "/etc/ssl/telemetry.key": f"{credentials.folder}/server.key",
        "/var/log/nginx/": f"{tmp_path}/",
    }.items():
        assert old in site
        site = site.replace(old, new)
    paths = "".join(
        f"{name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "site.conf").write_text(site)
    (tmp_path / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/main.log;\n"
        f"events {{}}\nhttp {{\n{paths}access_log off;\ninclude {tmp_path}/site.conf;\n}}\n"
    )
    program = find_program("nginx")
    assert program is not None
    command = [program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "start.log")]
    checked = subprocess.run([*command, "-t"], env=environment(), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL)
    try:
        server = Nginx(tmp_path, port)
        _wait_until_listening(port)
        yield server
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS).close()
        except ConnectionRefusedError:
            time.sleep(POLL_SECONDS)
        else:
            return
    pytest.fail("nginx did not start")


def read_head(client: socket.socket) -> str:
    """One response's head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        assert data, head
        head += data
    return head.decode()


def test_a_websocket_passes_in_both_directions(nginx: Nginx, upstream: Upstream, credentials: Credentials) -> None:
    """The upgrade reaches the bridge whole, and bytes flow after it without waiting in a buffer."""
    with nginx.connect(credentials) as client:
        client.sendall(HANDSHAKE)
        assert read_head(client).startswith("HTTP/1.1 101 ")
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"
    (head,) = upstream.heads
    assert re.search(r"^Upgrade: websocket\r$", head, re.MULTILINE)
    assert re.search(r"^Connection: upgrade\r$", head, re.MULTILINE)
    assert re.search(r"^Host: telemetry\.example\.com\r$", head, re.MULTILINE)
    assert re.search(r"^X-Forwarded-Proto: https\r$", head, re.MULTILINE)


def test_a_forged_client_address_is_replaced(nginx: Nginx, upstream: Upstream, credentials: Credentials) -> None:
    """The bridge reads the address that nginx saw, not the one that the client claims."""
    with nginx.connect(credentials) as client:
        client.sendall(HANDSHAKE)
        read_head(client)
    assert re.findall(r"^X-Forwarded-For: (.*)\r$", upstream.heads[0], re.MULTILINE) == ["127.0.0.1"]


def test_no_token_reaches_a_log(nginx: Nginx, upstream: Upstream, credentials: Credentials) -> None:
    """Neither a stream that ended nor a bridge that is away makes nginx write the query down."""
    with nginx.connect(credentials) as client:
        client.sendall(HANDSHAKE)
        read_head(client)
    upstream.stop()
    with nginx.connect(credentials) as client:
        client.sendall(HANDSHAKE)
        assert read_head(client).startswith("HTTP/1.1 502 ")
    wait_until(lambda: '"GET /api/v1/stream HTTP/1.1" 502' in nginx.logs(), what=nginx.logs)
    assert TOKEN not in nginx.logs()


@pytest.mark.parametrize(
    "path", ["/s/Code-that-opens_1", "//s/Code-that-opens_1", "/s/Code-that-opens_1?x=1", "/s/%43ode-that-opens_1"]
)
def test_no_code_of_a_share_link_reaches_a_log(
    nginx: Nginx, upstream: Upstream, credentials: Credentials, path: str
) -> None:
    """That a link was opened is logged, which link is not."""
    upstream.stop()
    with nginx.connect(credentials) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: telemetry.example.com\r\n\r\n".encode())
        assert read_head(client).startswith("HTTP/1.1 502 ")
    wait_until(lambda: '"GET /s/*** HTTP/1.1" 502' in nginx.logs(), what=nginx.logs)
    assert "ode-that-opens" not in nginx.logs()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/v1/stream/stats"])
def test_the_operators_endpoints_are_not_public(
    nginx: Nginx, upstream: Upstream, credentials: Credentials, path: str
) -> None:
    """What needs no token is not reached from outside."""
    with nginx.connect(credentials) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: telemetry.example.com\r\n\r\n".encode())
        assert read_head(client).startswith("HTTP/1.1 404 ")
    assert upstream.heads == []
