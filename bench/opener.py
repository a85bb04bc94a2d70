"""Takes the place of the load generator where a case is over TLS: opens the sockets, waits, prints the same JSON.

It is started by run.py. It takes the load generator's options; those about messages mean nothing here.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

# Run by its path this script knows only its own folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.client import unverified, upgrade
from bench.errors import BenchError

CONNECT_SECONDS: Final = 10.0
QUIET_SECONDS: Final = 0.5
"""After the last handshake, before CPU is read: the server's first frames count, as with the load generator."""
PAGE_KB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
NO_LATENCY: Final = {"samples": 0, "p50": 0.0, "p90": 0.0, "p99": 0.0, "p99_9": 0.0, "max": 0.0}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process by its CPU clock, in nanoseconds, as clock_getcpuclockid(3) names it."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_kb(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_KB


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/opener.py", description="Opens WebSockets over TLS and waits.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--sockets", type=int, required=True)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--settle", type=float, default=1.0)
    parser.add_argument("--process", action="append", required=True, metavar="NAME=PID")
    return parser.parse_known_args()[0]


def _open(options: argparse.Namespace) -> list[socket.socket]:
    context = unverified()
    opened: list[socket.socket] = []
    for index in range(options.sockets):
        plain = socket.create_connection(("127.0.0.1", options.port), CONNECT_SECONDS)
        sock = context.wrap_socket(plain)
        upgrade(sock, options.path.replace("%D", f"dev{index % options.devices:05}"), options.header)
        opened.append(sock)
    return opened


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    name, _, pid = options.process[0].partition("=")
    server = int(pid)
    cpu, memory, start = cpu_seconds(server), resident_kb(server), time.monotonic()
    sockets = _open(options)
    seconds = time.monotonic() - start
    time.sleep(QUIET_SECONDS)
    cpu = cpu_seconds(server) - cpu
    time.sleep(options.settle)
    end = resident_kb(server)
    process = {
        "cpu_share": 0.0,
        "us_per_delivery": 0.0,
        "us_per_open": cpu * 1e6 / len(sockets),
        "kb_per_socket": (end - memory) / len(sockets),
        "rss_end_kb": end,
    }
    return {
        "opens_per_s": len(sockets) / seconds,
        "delivered_per_s": 0.0,
        "expected": 0,
        "delivered": 0,
        "closed": 0,
        "last_close_code": 0,
        "stalled_cut": 0,
        "load_cpu_share": 0.0,
        "other_cpu_share": 0.0,
        "publisher_late_ms": 0.0,
        "latency_ms": NO_LATENCY,
        "processes": {name: process},
    }


def main() -> int:
    """The command. 0: measured; 1: a socket was refused, or something else went wrong that stderr says."""
    try:
        print(json.dumps(_measure(_options())))
    except (BenchError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
