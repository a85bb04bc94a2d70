"""Five strangers who send useless frames as fast as they can, beside one honest viewer: ``python bench/strangers.py``.

The bridge runs with its default limits on one core; the strangers, each a process, share the other with the viewer and
a probe of /healthz, who go first there. Everything is bounded: the attacks are listed, each takes ``--seconds``.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

# Run by its path this script knows only its own folder; what it starts imports its parts as ``bench.…``.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.attack import FRAMES, STILL_OPEN, Attack, run_attack
from bench.brokers import mqtt_broker
from bench.errors import BenchError
from bench.machine import commit, machine_facts
from bench.public import STREAM, fresh_store, share_tokens
from bench.report import table
from bench.subject import Serving, check_tree, serving
from bench.targets import Place
from bench.viewer import Watched, poll_health, view
from tests.environment import ROOT

STRANGERS: Final = 5
STRANGERS_NICE: Final = 10
"""Only among those on their core, so that the viewer measures the server and not its neighbours."""
ROUND_TRIP_MS: Final = 50.0
HEALTH_MS: Final = 250.0
"""The marks, for the worst of all round trips."""
HEAD_START_SECONDS: Final = 0.5
"""From the viewer's start to the first stranger's."""
CALM_SECONDS: Final = 30.0
MAX_SECONDS: Final = 60
WHERE: Final = ("ws", "stream", "share")
DEVICE: Final = "dev00000"
VIEWER_PATH: Final = f"/api/v1/stream?device_ids={DEVICE}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attack on one server did."""

    attack: str
    server: str
    viewer: Watched
    health: Watched
    ends: Counter[str]

    @property
    def met(self) -> bool:
        """Whether the viewer and the probe hardly noticed it."""
        if self.viewer.failure or self.health.failure:
            return False
        return max(self.viewer.round_trips_ms) < ROUND_TRIP_MS and max(self.health.round_trips_ms) < HEALTH_MS

    def row(self) -> list[str]:
        """Of the report."""
        ends = ", ".join(f"{count} × {end}" for end, count in sorted(self.ends.items()))
        return [
            self.attack,
            self.server,
            *_times(self.viewer),
            *_times(self.health),
            ends or "–",
            "yes" if self.met else "**no**",
        ]


def percentile(values: Sequence[float], share: float) -> float:
    """The least of ``values`` that at least ``share`` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _times(watched: Watched) -> tuple[str, str]:
    failure = f" ({watched.failure})" if watched.failure else ""
    return f"{percentile(watched.round_trips_ms, 0.99):.1f}", f"{max(watched.round_trips_ms):.1f}{failure}"


def attacks(where: Sequence[str], frames: Sequence[str], token: str, share_token: str) -> Iterator[Attack]:
    """Every kind of frame, masked and not, with a token and without, on every endpoint of ``where``."""
    operator = (f"Authorization: Bearer {token}",)
    targets = {
        "ws": (("/api/v1/ws", operator), ("/api/v1/ws", ())),
        "stream": ((VIEWER_PATH, operator), (VIEWER_PATH, ())),
        "share": ((f"{STREAM}?token={share_token}", ()), (STREAM, ())),
    }
    for place in where:
        for (path, headers), has_token in zip(targets[place], (True, False), strict=True):
            for kind in frames:
                for masked in (True, False):
                    yield Attack(kind, masked, place, path, headers, has_token)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The processes: two honest ones, and the strangers."""

    honest: ProcessPoolExecutor
    strangers: ProcessPoolExecutor
    seconds: float

    def outcome(
        self, name: str, server: str, bridge: Serving, token: str, attack: Attack | None, number: int
    ) -> Outcome:
        """Runs one attack, or none, and waits for all. The strangers of each attack have an address of their own."""
        self._wait_for_calm(bridge.port)
        watching = self.seconds + HEAD_START_SECONDS
        viewer = self.honest.submit(view, bridge.port, VIEWER_PATH, (f"Authorization: Bearer {token}",), watching)
        health = self.honest.submit(poll_health, bridge.port, watching)
        time.sleep(HEAD_START_SECONDS)
        running: list[Future[Counter[str]]] = []
        if attack is not None:
            call = partial(run_attack, attack, f"127.0.1.{number}", bridge.port, self.seconds)
            running = [self.strangers.submit(call) for _ in range(STRANGERS)]
        ends = sum((future.result() for future in running), Counter[str]())
        return Outcome(name, server, viewer.result(), health.result(), ends)

    def _wait_for_calm(self, port: int) -> None:
        """What the attack before has left behind is not counted against this one, up to CALM_SECONDS."""
        deadline = time.monotonic() + CALM_SECONDS
        while time.monotonic() < deadline:
            health = self.honest.submit(poll_health, port, HEAD_START_SECONDS).result()
            if not health.failure and max(health.round_trips_ms) < HEALTH_MS:
                return


def _settle_in(core: int, nice: int) -> None:
    """In a new process of a pool."""
    os.sched_setaffinity(0, {core})
    os.nice(nice)


def _pool(count: int, core: int, nice: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_settle_in, initargs=(core, nice))


def _measure(options: argparse.Namespace, folder: Path) -> Iterator[Outcome]:
    trees = {"bridge": ROOT} | ({"before": check_tree(options.before)} if options.before else {})
    with ExitStack() as stack:
        _, mqtt_port = stack.enter_context(mqtt_broker(options.load_core, folder))
        place = Place(options.server_core, folder, mqtt_port)
        crowd = Crowd(
            stack.enter_context(_pool(2, options.load_core, 0)),
            stack.enter_context(_pool(STRANGERS, options.load_core, STRANGERS_NICE)),
            options.seconds,
        )
        targets: dict[str, tuple[Serving, str, list[Attack]]] = {}
        for name, root in trees.items():
            bridge = stack.enter_context(serving(place, name, fresh_store(place, name, root), root))
            token, shared = bridge.token(), next(iter(share_tokens(bridge, 1)))
            targets[name] = bridge, token, list(attacks(options.where, options.frames, token, shared))
        for name, (bridge, token, _) in targets.items():
            yield crowd.outcome("nobody", name, bridge, token, None, 0)
        for number in range(len(targets["bridge"][2])):
            for name, (bridge, token, listed) in targets.items():
                yield crowd.outcome(listed[number].name, name, bridge, token, listed[number], number + 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/strangers.py", description="Strangers beside one honest viewer.")
    parser.add_argument("--where", nargs="+", choices=WHERE, default=WHERE, help="endpoints (default: all)")
    parser.add_argument("--frames", nargs="+", choices=FRAMES, default=FRAMES, help="what is sent (default: all)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each attack (default %(default)s)")
    parser.add_argument(
        "--before", type=Path, metavar="FOLDER", help="another checkout, attacked in turn with this one"
    )
    parser.add_argument("--server-core", type=int, default=0, help="core of the server (default %(default)s)")
    parser.add_argument("--load-core", type=int, default=1, help="core of all others (default %(default)s)")
    return parser


def _run(options: argparse.Namespace) -> int:
    if not 0 < options.seconds <= MAX_SECONDS:
        raise BenchError(f"--seconds is above 0 and at most {MAX_SECONDS}")
    if not {options.server_core, options.load_core} <= os.sched_getaffinity(0):
        raise BenchError("the server and the others need a core each: --server-core, --load-core")
    facts = machine_facts()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for outcome in _measure(options, Path(folder)):
            outcomes.append(outcome)
            print(" | ".join(outcome.row()), file=sys.stderr, flush=True)
    print(", ".join(f"{name} {facts[name]}" for name in ("python", "cpu", "load average", "commit")))
    if options.before:
        print(f"before: commit {commit(options.before)}")
    head = ["attack", "server", "viewer p99 ms", f"worst (mark {ROUND_TRIP_MS:.0f})", "healthz p99 ms"]
    head += [f"worst (mark {HEALTH_MS:.0f})", f"how connections ended ({STILL_OPEN}: not at all)", "met"]
    print("\n" + table(head, [outcome.row() for outcome in outcomes]))
    return 0 if all(outcome.met for outcome in outcomes if outcome.server == "bridge") else 1


def main(arguments: Sequence[str]) -> int:
    """The command. 0: the marks are met; 1: one is not; 2: it could not start."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
