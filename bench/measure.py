"""One run of the load generator against one server, and what it found."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.errors import BenchError
from bench.workloads import Case
from tests.environment import environment

LOAD_SECONDS: Final = 60.0
"""Longest run of the load generator beyond its own time: opening and draining included."""
SATURATED: Final = 0.95
"""Share of its core above which the load generator, with the MQTT broker beside it, holds the server back."""
NOISY: Final = 0.15
"""Cores that other programs kept busy during the window, above which latencies are not to be trusted."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of one run. Times in the unit that the name says; shares are of one core."""

    us_per_delivery: float
    p50_ms: float
    p99_ms: float
    p99_9_ms: float
    max_ms: float
    us_per_open: float
    opens_per_s: float
    kb_per_socket: float
    rss_end_kb: float
    delivered_per_s: float
    expected: int
    delivered: int
    closed: int
    last_close_code: int
    stalled_cut: int
    server_cpu_share: float
    load_cpu_share: float
    other_cpu_share: float
    publisher_late_ms: float

    @property
    def lost(self) -> int:
        """Deliveries that never came; negative when more came than were due (duplicates)."""
        return self.expected - self.delivered

    def warnings(self) -> list[str]:
        """What makes this run doubtful, in words."""
        found = []
        if self.lost > 0:
            found.append(f"lost {self.lost} of {self.expected} deliveries ({100 * self.lost / self.expected:.1f} %)")
        if self.lost < 0:
            found.append(f"{-self.lost} deliveries more than were due: duplicates")
        if self.closed:
            code = self.last_close_code or "none"
            found.append(f"the server closed {self.closed} reading sockets (last code {code})")
        if self.expected and self.load_cpu_share > SATURATED:
            found.append("the load generator's core was full: latencies are its own")
        if self.expected and self.other_cpu_share > NOISY:
            found.append(f"other programs used {self.other_cpu_share:.2f} cores: latencies are doubtful")
        return found

    def as_dict(self) -> dict[str, float]:
        """The fields and ``lost``, for the JSON file."""
        return asdict(self) | {"lost": self.lost}


def parse(result: Mapping[str, Any]) -> Measurement:
    """The JSON object that the load generator prints. The process named ``server`` must be in it."""
    processes = result["processes"]
    server = processes["server"]
    beside = sum(process["cpu_share"] for name, process in processes.items() if name != "server")
    latency = result["latency_ms"]
    return Measurement(
        us_per_delivery=server["us_per_delivery"],
        p50_ms=latency["p50"],
        p99_ms=latency["p99"],
        p99_9_ms=latency["p99_9"],
        max_ms=latency["max"],
        us_per_open=server["us_per_open"],
        opens_per_s=result["opens_per_s"],
        kb_per_socket=server["kb_per_socket"],
        rss_end_kb=server["rss_end_kb"],
        delivered_per_s=result["delivered_per_s"],
        expected=result["expected"],
        delivered=result["delivered"],
        closed=result["closed"],
        last_close_code=result["last_close_code"],
        stalled_cut=result["stalled_cut"],
        server_cpu_share=server["cpu_share"],
        load_cpu_share=result["load_cpu_share"] + beside,
        other_cpu_share=result["other_cpu_share"],
        publisher_late_ms=result["publisher_late_ms"],
    )


def start_load(command: Sequence[str], core: int) -> subprocess.Popen[str]:
    """Starts the load generator, or what takes its place, on ``core``."""
    return subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 # this program has one thread
    )


def finish_load(process: subprocess.Popen[str], case: Case) -> Measurement:
    """Waits for the load generator. BenchError carries its message when it failed, or when it hangs."""
    try:
        output, errors = process.communicate(timeout=case.settle + case.warm + case.seconds + LOAD_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise BenchError("the load generator did not end in time") from None
    if process.returncode != 0:
        raise BenchError(errors.strip() or f"the load generator ended with status {process.returncode}")
    return parse(json.loads(output))
