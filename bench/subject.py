"""The bridge as a server under test, of this tree or another: authentication, bounds, heartbeats as in production."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.client import unverified
from bench.errors import BenchError
from bench.machine import commit
from bench.processes import free_port, running
from bench.targets import Place, Target
from tests.environment import ROOT, environment

COMMAND = (sys.executable, "-m", "bridge")
"""``telemetry-bridge`` of the tree that PYTHONPATH names, with the Python that runs the benchmark."""
SETTINGS = {
    # One process opens all sockets from one address with one token.
    "BRIDGE_MAX_CONNECTIONS": "50000",
    "BRIDGE_MAX_CONNECTIONS_PER_IP": "0",
    "BRIDGE_MAX_CONNECTIONS_PER_PRINCIPAL": "0",
    "BRIDGE_HANDSHAKES_PER_SECOND": "0",
}
"""Of every measurement: the limits that one load generator would run into are lifted."""
ALWAYS = {"BRIDGE_MQTT_TOPICS": "fleet/#", "BRIDGE_DRAIN_SECONDS": "1"}
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


def clean_environment(extra: dict[str, str], root: Path = ROOT) -> dict[str, str]:
    """An environment that is made, not inherited, for the program of the tree ``root``."""
    return environment(PYTHONPATH=str(root), **extra)


def check_tree(root: Path) -> Path:
    """``root``, absolute. BenchError when no bridge is in it."""
    if not (root / "bridge" / "__main__.py").is_file():
        raise BenchError(f"{root} is not a checkout of the bridge")
    return root.resolve()


def output(folder: Path, variables: dict[str, str], *arguments: str) -> str:
    """What a command of ``telemetry-bridge`` prints. BenchError with its message when it fails."""
    result = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=30
    )
    if result.returncode != 0:
        raise BenchError(f"telemetry-bridge {arguments[0]} failed:\n{result.stderr.strip()}")
    return result.stdout.strip()


def _is_ready(port: int, *, tls: bool) -> bool:
    context = unverified() if tls else None
    try:
        url = f"http{'s' if tls else ''}://127.0.0.1:{port}/readyz"
        with urllib.request.urlopen(url, timeout=1, context=context) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def serving(place: Place, name: str, settings: dict[str, str], root: Path = ROOT) -> Iterator[Serving]:
    """Runs ``telemetry-bridge serve`` of ``root`` with a fresh access key; ``settings`` win over what it needs here."""
    port = free_port()
    own = ALWAYS | {
        "BRIDGE_PORT": str(port),
        "BRIDGE_MQTT_URL": f"mqtt://127.0.0.1:{place.mqtt_port}",
        "BRIDGE_ACCESS_KEYS": output(place.folder, clean_environment({}, root), "keygen", "access"),
    }
    if place.certificate is not None:
        own |= {
            "BRIDGE_TLS_CERT": str(place.certificate.chain),
            "BRIDGE_TLS_KEY": str(place.certificate.key),
        }
    variables = clean_environment(own | settings, root)
    with running(
        [*COMMAND, "serve"],
        name=name,
        core=place.core,
        ready=lambda: _is_ready(port, tls=place.certificate is not None),
        folder=place.folder,
        env=variables,
    ) as pid:
        yield Serving(pid, port, place.folder, variables)


class Bridge:
    """``telemetry-bridge serve`` of the checkout ``root``, called ``name`` in the report.

    ``settings`` (full variable names) win over those of the benchmark.
    """

    cases: frozenset[str] | None = None
    speaks_tls = True
    own_broker = False
    may_lose = False

    def __init__(self, settings: dict[str, str], name: str = "bridge", root: Path = ROOT) -> None:
        self.name = name
        self.root = root
        self.settings = SETTINGS | settings

    def version(self) -> str:
        """The commit of its tree."""
        return f"commit {commit(self.root)}"

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it with a token for all devices."""
        with serving(place, self.name, self.settings, self.root) as bridge:
            header = f"Authorization: Bearer {bridge.token()}"
            yield Target(bridge.pid, bridge.port, place.mqtt_port, ("--path", PATH, "--header", header))
