"""The bridge as a server under test: authentication, bounds and heartbeats on, as in production."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.machine import commit
from bench.processes import free_port, running
from bench.targets import Place, Target
from tests.environment import environment

COMMAND = (sys.executable, "-m", "bridge")
"""``telemetry-bridge`` of this tree, with the Python that runs the benchmark."""
SETTINGS = {
    # One process opens all sockets from one address with one token: the only limits that are lifted.
    "BRIDGE_MAX_CONNECTIONS": "50000",
    "BRIDGE_MAX_CONNECTIONS_PER_IP": "0",
    "BRIDGE_MAX_CONNECTIONS_PER_PRINCIPAL": "0",
    "BRIDGE_HANDSHAKES_PER_SECOND": "0",
    "BRIDGE_MQTT_TOPICS": "fleet/#",
    "BRIDGE_DRAIN_SECONDS": "1",
}
PATH = "/api/v1/stream?device_ids=%D"


@dataclass(frozen=True, slots=True)
class Serving:
    """A bridge that runs. ``variables`` is its environment."""

    pid: int
    port: int
    folder: Path
    variables: dict[str, str]

    def token(self, *arguments: str) -> str:
        """An access token for all devices, for an hour."""
        return output(self.folder, self.variables, "token", "--devices", "*", "--ttl", "1h", *arguments)


def output(folder: Path, variables: dict[str, str], *arguments: str) -> str:
    """What a command of ``telemetry-bridge`` prints. BenchError with its message when it fails."""
    result = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=30
    )
    if result.returncode != 0:
        raise BenchError(f"telemetry-bridge {arguments[0]} failed:\n{result.stderr.strip()}")
    return result.stdout.strip()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def serving(place: Place, name: str, settings: dict[str, str]) -> Iterator[Serving]:
    """Runs ``telemetry-bridge serve`` with a fresh access key; ``settings`` win over those of the benchmark."""
    port = free_port()
    given = {
        "BRIDGE_PORT": str(port),
        "BRIDGE_MQTT_URL": f"mqtt://127.0.0.1:{place.mqtt_port}",
        "BRIDGE_ACCESS_KEYS": output(place.folder, environment(), "keygen", "access"),
    }
    variables = environment(**(SETTINGS | given | settings))
    with running(
        [*COMMAND, "serve"],
        name=name,
        core=place.core,
        ready=lambda: _is_ready(port),
        folder=place.folder,
        env=variables,
    ) as pid:
        yield Serving(pid, port, place.folder, variables)


class Bridge:
    """``telemetry-bridge serve``. ``settings`` (full variable names) win over those of the benchmark."""

    name = "bridge"
    cases: frozenset[str] | None = None
    own_broker = False
    may_lose = False

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings

    def version(self) -> str:
        """The commit of this tree."""
        return f"commit {commit()}"

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it with a token for all devices."""
        with serving(place, self.name, self._settings) as bridge:
            header = f"Authorization: Bearer {bridge.token()}"
            yield Target(bridge.pid, bridge.port, place.mqtt_port, ("--path", PATH, "--header", header))
