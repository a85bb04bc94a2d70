"""Measures the bridge beside its peers, in one run: ``python bench/run.py --help``; what it means: README.md."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

# Run by its path this script knows only its own folder; its parts are imported as ``bench.…``.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.brokers import Mosquitto, Nats, find_mosquitto
from bench.build import build
from bench.errors import BenchError
from bench.machine import machine_facts
from bench.marks import check_marks
from bench.peers import Aiohttp, Floor, Naive, Nchan
from bench.profiler import Profiler
from bench.public import Share
from bench.report import as_json, markdown
from bench.session import Plan, run_plan
from bench.subject import Bridge, check_tree
from bench.targets import OURS, Server
from bench.workloads import WORKLOADS

SERVERS = ("bridge", "share", "before", "share-before", "floor", "mosquitto", "nats", "nchan", "aiohttp", "naive")
DEFAULT_SERVERS = "bridge,floor,mosquitto,nats"
MAX_REPEATS = 100


def _names(text: str, known: Sequence[str], what: str, available: Iterable[str]) -> list[str]:
    names = list(available) if text == "all" else text.split(",")
    for name in names:
        if name not in known:
            raise BenchError(f"there is no {what} {name!r}; known: {', '.join(known)}, or all")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measures the bridge beside its peers.")
    several = "comma-separated, of {}, or all (default %(default)s)"
    parser.add_argument("--workloads", default="W1,W2,W3", help=several.format(", ".join(WORKLOADS)))
    parser.add_argument("--servers", default=DEFAULT_SERVERS, help=several.format(", ".join(SERVERS)))
    parser.add_argument("--repeats", type=int, default=3, help="rounds, interleaved (default %(default)s)")
    parser.add_argument(
        "--before", type=Path, metavar="FOLDER",
        help="another checkout of this project: the servers `before` and `share-before`, run by the same Python",
    )  # fmt: skip
    parser.add_argument("--nats", default="", metavar="PATH", help="nats-server, when it is not in PATH")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting of the bridge, e.g. BRIDGE_QUEUE_MESSAGES=500; may be repeated",
    )  # fmt: skip
    parser.add_argument("--server-core", type=int, default=0, help="core of the server (default %(default)s)")
    parser.add_argument("--load-core", type=int, default=1, help="core of load and MQTT broker (default %(default)s)")
    parser.add_argument("--nagle", action="store_true", help="MQTT broker without TCP_NODELAY, its own default")
    parser.add_argument("--nice", type=int, default=0, help="priority of everything, -20 to 19; below 0 as root only")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write report.md and report.json there")
    profile = parser.add_mutually_exclusive_group()
    profile.add_argument("--py-spy", type=Path, metavar="FILE", help="profile bridge or share: .svg, .json or .txt")
    profile.add_argument("--perf", type=Path, metavar="FILE", help="profile bridge or share with perf record")
    return parser


def _servers(options: argparse.Namespace) -> list[Server]:
    settings: dict[str, str] = {}
    for item in options.settings:
        name, equals, value = item.partition("=")
        if not equals or not name.startswith("BRIDGE_"):
            raise BenchError(f"--set takes BRIDGE_NAME=VALUE, not {item!r}")
        settings[name] = value
    made: dict[str, Server] = {
        "bridge": Bridge(settings),
        "share": Share(settings, "share"),
        "floor": Floor(),
        "mosquitto": Mosquitto(),
        "nats": Nats(options.nats),
        "nchan": Nchan(),
        "aiohttp": Aiohttp(),
        "naive": Naive(),
    }
    if options.before is not None:
        before = check_tree(options.before)
        made["before"] = Bridge(settings, "before", before)
        made["share-before"] = Share(settings, "share-before", before)
    names = _names(options.servers, SERVERS, "server", made)
    for name in names:
        if name not in made:
            raise BenchError(f"the server {name} needs --before FOLDER, another checkout of this project")
    return [made[name] for name in names]


def _profiler(options: argparse.Namespace) -> Profiler | None:
    output = options.py_spy or options.perf
    if output is None:
        return None
    profiler = Profiler("py-spy" if options.py_spy else "perf", output.resolve())
    profiler.check()
    return profiler


def _check_machine(options: argparse.Namespace) -> None:
    allowed = os.sched_getaffinity(0)
    for core in (options.server_core, options.load_core):
        if core not in allowed:
            raise BenchError(f"core {core} is not to be had here; there are {sorted(allowed)}")
    if options.server_core == options.load_core:
        raise BenchError("server and load need a core each")
    if not 1 <= options.repeats <= MAX_REPEATS:
        raise BenchError(f"--repeats is 1 to {MAX_REPEATS}")
    find_mosquitto()
    build("load")
    try:
        os.nice(options.nice)  # what we start inherits it
    except PermissionError:
        raise BenchError("--nice below 0 needs root") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _run(options: argparse.Namespace, command: str) -> int:
    _check_machine(options)
    profiler = _profiler(options)
    servers = _servers(options)
    workloads = _names(options.workloads, tuple(WORKLOADS), "workload", WORKLOADS)
    cases = [case for name in workloads for case in WORKLOADS[name]]
    profiled = [server for server in servers if server.name in OURS]
    if profiler is not None and (len(cases) != 1 or options.repeats != 1 or len(profiled) != 1):
        raise BenchError("a profile is of one workload and one round: --workloads W1 --servers bridge --repeats 1")
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = {"date": started} | machine_facts() | {server.name: server.version() for server in servers}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        plan = Plan(
            cases,
            servers,
            options.repeats,
            options.server_core,
            options.load_core,
            Path(folder),
            profiler,
            nodelay=not options.nagle,
        )
        results = run_plan(plan, _say)
    marks = check_marks(results)
    text = markdown(results, cases, facts, command, marks)
    print(text)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "report.md").write_text(text, encoding="utf-8")
        report = json.dumps(as_json(results, facts, command, marks), indent=1)
        (options.output / "report.json").write_text(report + "\n", encoding="utf-8")
    if profiler is not None and profiler.output.exists():
        _say(f"profile: {profiler.output}; CPU times of a profiled run are not comparable")
    return 1 if results.failed else 0


def main(arguments: Sequence[str]) -> int:
    """The command. 0: measured and nothing lost; 1: deliveries lost or a run failed; 2: it could not start."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options, shlex.join(["python", "bench/run.py", *arguments]))
    except BenchError as error:
        _say(f"bench: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
