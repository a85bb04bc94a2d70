"""Free ports for servers that must know theirs before they start, or have it again after a restart."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

PORTS: Final = range(20_000, 32_768)
"""Below those that the kernel takes by itself, for outgoing connections and for port 0 (ip(7))."""
MOST_WORKERS: Final = 16
"""Processes of one pytest-xdist run, each with its ports."""


def _own_ports() -> Iterator[int]:
    """The ports of this process, for ever; begun anywhere, since a second run of the tests has the same ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = PORTS[worker % MOST_WORKERS :: MOST_WORKERS]
    first = random.randrange(len(own))
    return cycle([*own[first:], *own[:first]])


_ports = _own_ports()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on, and that no other process of this run of the tests takes."""
    for port in islice(_ports, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
