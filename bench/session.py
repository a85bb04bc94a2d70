"""Runs every case against every server, in turn, and keeps what came out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.brokers import mqtt_broker
from bench.build import build
from bench.certificate import make_certificate
from bench.errors import BenchError
from bench.measure import Measurement, finish_load, start_load
from bench.profiler import Profiler
from bench.targets import OURS, Place, Server
from bench.workloads import Case


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, and where: the server on one core, everything else on the other."""

    cases: Sequence[Case]
    servers: Sequence[Server]
    repeats: int
    server_core: int
    load_core: int
    folder: Path
    profiler: Profiler | None = None
    nodelay: bool = True
    """Whether the MQTT broker sends at once, or as by its default with Nagle's algorithm."""


@dataclass(slots=True)
class Results:
    """(case, server) → one measurement per round, None for a round that failed; and what went wrong."""

    runs: dict[tuple[str, str], list[Measurement | None]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    failed: bool = False

    def of(self, case: str, server: str) -> list[Measurement]:
        """The measurements that succeeded."""
        return [run for run in self.runs.get((case, server), []) if run is not None]


def _applies(server: Server, case: Case) -> bool:
    return (server.cases is None or case.name in server.cases) and (server.speaks_tls or not case.tls)


def _load_program(case: Case) -> list[str]:
    if case.tls:
        return [sys.executable, str(Path(__file__).with_name("opener.py"))]
    return [str(build("load"))]


def _measure(plan: Plan, place: Place, broker_pid: int, server: Server, case: Case) -> Measurement:
    with server.running(place) as target:
        arguments = [*target.load_arguments(), "--process", f"mqtt={broker_pid}", *case.arguments()]
        command = [*_load_program(case), *arguments]
        if plan.profiler is None or server.name not in OURS:
            return finish_load(start_load(command, plan.load_core), case)
        return _profile(plan, plan.profiler, target.pid, command, case)


def _profile(plan: Plan, profiler: Profiler, pid: int, command: Sequence[str], case: Case) -> Measurement:
    """One run with a profiler beside it: from before the handshakes, or from the first messages on."""
    if case.rate == 0:
        recording = profiler.start(pid, case)
        load = start_load(command, plan.load_core)
    else:
        load = start_load(command, plan.load_core)
        recording = profiler.start(pid, case)
    measurement = finish_load(load, case)
    profiler.finish(recording)
    return measurement


def _note(results: Results, server: Server, label: str, run: Measurement) -> None:
    for warning in run.warnings():
        results.problems.append(f"{label}: {warning}")
    if (run.lost or run.closed) and not server.may_lose:
        results.failed = True


def _summary(run: Measurement) -> str:
    if run.expected:
        return f"{run.us_per_delivery:.2f} µs/delivery, p99 {run.p99_ms:.2f} ms, lost {run.lost}"
    return f"{run.us_per_open:.0f} µs/handshake, {run.kb_per_socket:.1f} KB/socket"


def run_plan(plan: Plan, say: Callable[[str], None]) -> Results:
    """Measures. Rounds are interleaved, so that a slow minute of the machine meets every server alike.

    A run that fails is told by ``say`` and kept as a problem; the others go on.
    """
    results = Results()
    with mqtt_broker(plan.load_core, plan.folder, nodelay=plan.nodelay) as (broker_pid, mqtt_port):
        for round_number in range(1, plan.repeats + 1):
            for case in plan.cases:
                certificate = make_certificate(plan.folder) if case.tls else None
                place = Place(plan.server_core, plan.folder, mqtt_port, case.devices, certificate)
                for server in (server for server in plan.servers if _applies(server, case)):
                    label = f"{case.name} {server.name} round {round_number}"
                    runs = results.runs.setdefault((case.name, server.name), [])
                    try:
                        run = _measure(plan, place, broker_pid, server, case)
                    except BenchError as error:
                        runs.append(None)
                        results.failed = True
                        results.problems.append(f"{label}: failed: {error}")
                        say(results.problems[-1])
                        continue
                    runs.append(run)
                    _note(results, server, label, run)
                    say(f"{label}: {_summary(run)}")
    return results
