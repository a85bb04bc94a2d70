"""Servers to compare with that are no brokers: the floor, the usual Python design, aiohttp alone, nginx with nchan."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from bench.brokers import find_program
from bench.build import build
from bench.errors import BenchError
from bench.machine import first_line
from bench.processes import free_port, port_is_open, running
from bench.targets import Place, Target

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
NGINX_CONF = """\
load_module {module};
daemon off;
master_process off;
worker_rlimit_nofile 20000;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_id; nchan_subscriber_first_message newest; }}
        location /pub {{ nchan_publisher http; nchan_channel_id $arg_id; nchan_message_buffer_length 0; }}
    }}
}}
"""


class Floor:
    """The least that any server must do, in C. It sends everything to everyone, so sparse cases say nothing."""

    name = "floor"
    cases: frozenset[str] | None = frozenset({"W1", "W2", "handshake", "scale-1k", "scale-10k"})
    speaks_tls = False
    own_broker = False
    may_lose = False

    def version(self) -> str:
        """There is one."""
        return "bench/floor.c"

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it on the topics of the load generator."""
        port = free_port()
        command = [str(build("floor")), "--port", str(port), "--mqtt-port", str(place.mqtt_port)]
        with running(
            command, name=self.name, core=place.core, ready=lambda: port_is_open(port), folder=place.folder
        ) as pid:
            yield Target(pid, port, place.mqtt_port)


class Naive:
    """The usual design in Python: naive.py. It collapses on W2, which is the point."""

    name = "naive"
    cases: frozenset[str] | None = None
    speaks_tls = False
    own_broker = False
    may_lose = True

    def version(self) -> str:
        """There is one."""
        return "bench/naive.py"

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it with the Python of the benchmark."""
        port = free_port()
        script = Path(__file__).with_name("naive.py")
        command = [sys.executable, str(script), str(port), str(place.mqtt_port)]
        with running(
            command, name=self.name, core=place.core, ready=lambda: port_is_open(port), folder=place.folder
        ) as pid:
            yield Target(pid, port, place.mqtt_port, ("--path", "/?device_ids=%D"))


class Aiohttp:
    """aiohttp's WebSocket alone: bare.py. It sends nothing, so it shows what a socket and its handshake cost."""

    name = "aiohttp"
    cases: frozenset[str] | None = frozenset({"idle", "idle-tls", "handshake"})
    speaks_tls = True
    own_broker = False
    may_lose = False

    def version(self) -> str:
        """That of the library; uvloop runs it."""
        return f"aiohttp {version('aiohttp')} alone, bench/bare.py"

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it with the Python of the benchmark."""
        port = free_port()
        script = Path(__file__).with_name("bare.py")
        certificate = place.certificate
        files = [] if certificate is None else [str(certificate.chain), str(certificate.key)]
        with running(
            [sys.executable, str(script), str(port), *files],
            name=self.name,
            core=place.core,
            ready=lambda: port_is_open(port),
            folder=place.folder,
        ) as pid:
            yield Target(pid, port, place.mqtt_port)


class Nchan:
    """nginx with nchan: messages are POSTed to it, so W1 compares, and the cases with many devices do not."""

    name = "nchan"
    cases: frozenset[str] | None = frozenset({"W1", "idle", "handshake", "scale-1k", "scale-10k"})
    speaks_tls = False
    own_broker = True
    may_lose = False

    def version(self) -> str:
        """As nginx says it; nchan itself has no way to ask."""
        if not NCHAN_MODULE.exists():
            raise BenchError("nchan is not installed: apt-get install nginx-light libnginx-mod-nchan")
        return first_line(find_program("nginx", "apt-get install nginx-light libnginx-mod-nchan"), "-v")

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it in one process, without a master."""
        self.version()
        port = free_port()
        config = place.folder / "nginx.conf"
        config.write_text(NGINX_CONF.format(module=NCHAN_MODULE, folder=place.folder, port=port), encoding="utf-8")
        nginx = find_program("nginx", "apt-get install nginx-light libnginx-mod-nchan")
        command = [nginx, "-c", str(config), "-e", "stderr"]
        with running(
            command, name=self.name, core=place.core, ready=lambda: port_is_open(port), folder=place.folder
        ) as pid:
            yield Target(pid, port, port, ("--path", "/sub?id=%D", "--http-publish", "/pub?id=%D"))
