"""What the benchmark needs to know about a server under test."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.certificate import Certificate


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server may run: its core, a folder of its own, and the MQTT broker that carries the messages."""

    core: int
    folder: Path
    mqtt_port: int
    devices: int = 1
    """How many devices will publish, for a server that must be told before."""
    certificate: Certificate | None = None
    """With it the server speaks TLS."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server that runs: its process, its WebSocket port, where to publish, and how its clients speak."""

    pid: int
    port: int
    publish_port: int
    arguments: tuple[str, ...] = ()

    def load_arguments(self) -> list[str]:
        """The options of the load generator that concern the server."""
        ports = ["--port", str(self.port), "--mqtt-port", str(self.publish_port)]
        return [*ports, *self.arguments, "--process", f"server={self.pid}"]


OURS: Final = frozenset({"bridge", "share", "before", "share-before"})
"""Names of the servers that are this project: the ones that a profile is of."""


class Server(Protocol):
    """A server that can be measured."""

    name: str
    cases: frozenset[str] | None
    """Names of the cases that mean something for it; None: all."""
    speaks_tls: bool
    """Whether it can be measured in the cases over TLS."""
    own_broker: bool
    """Whether devices publish straight to it, so that its CPU time holds the MQTT side as well."""
    may_lose: bool
    """Whether losses are what it is here to show; they are reported all the same."""

    def version(self) -> str:
        """What is measured, for the table of facts. BenchError when it is not installed: says how to get it."""

    def running(self, place: Place) -> AbstractContextManager[Target]:
        """Runs it for the time of the context. BenchError when it does not start."""
