"""Markdown for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from bench.measure import Measurement
from bench.session import Results
from bench.workloads import Case

Value = Callable[[Measurement], float]


def spread(values: Sequence[float], digits: int) -> str:
    """``median (lowest to highest)``; the median alone where there is one value or no difference, – for none."""
    if not values:
        return "–"
    texts = [f"{value:,.{digits}f}" for value in (median(values), min(values), max(values))]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]}–{texts[2]})"


def ratio(results: Results, case: str, server: str, peer: str, value: Value) -> float | None:
    """Median over the rounds of server ÷ peer, each taken in the same round; None without both."""
    pairs = zip(results.runs.get((case, server), []), results.runs.get((case, peer), []), strict=False)
    ratios = [value(ours) / value(theirs) for ours, theirs in pairs if ours and theirs and value(theirs) > 0]
    return median(ratios) if ratios else None


def _cost(run: Measurement) -> float:
    return run.us_per_delivery


def _times(results: Results, case: str, server: str, peer: str, value: Value = _cost) -> str:
    """The ratio to ``peer``, or – without one. What was before the public side is the public side of before."""
    if peer == "before" and server.startswith("share"):
        peer = "share-before"
    found = ratio(results, case, server, peer, value)
    return f"{found:.2f}" if found is not None else "–"


def _load_row(results: Results, case: Case, server: str, peers: Sequence[str]) -> list[str]:
    runs = results.of(case.name, server)
    lost = sum(run.lost for run in runs)
    expected = sum(run.expected for run in runs)
    loss = "0" if lost == 0 else f"**{lost:,} ({100 * lost / max(expected, 1):.1f} %)**"
    return [
        case.name,
        server,
        spread([run.us_per_delivery for run in runs], 2),
        *(_times(results, case.name, server, peer) for peer in peers),
        spread([run.p50_ms for run in runs], 2),
        spread([run.p99_ms for run in runs], 2),
        spread([run.p99_9_ms for run in runs], 1),
        loss if runs else "failed",
        spread([run.server_cpu_share * 100 for run in runs], 0),
        spread([run.other_cpu_share for run in runs], 2),
    ]


def _open_row(results: Results, case: Case, server: str, peers: Sequence[str]) -> list[str]:
    runs = results.of(case.name, server)
    return [
        case.name,
        server,
        spread([run.kb_per_socket for run in runs], 1),
        spread([run.us_per_open for run in runs], 0),
        *(_times(results, case.name, server, peer, lambda run: run.us_per_open) for peer in peers),
        spread([run.opens_per_s for run in runs], 0),
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown(
    results: Results, cases: Sequence[Case], facts: Mapping[str, str], command: str, marks: Sequence[Sequence[str]]
) -> str:
    """The whole report: what was run, where, the tables, the marks, and everything that went wrong."""
    servers = list(dict.fromkeys(server for _, server in results.runs))
    peers = [peer for peer in ("floor", "nats", "before") if peer in servers] + ["bridge"] * ("share" in servers)
    openers = [peer for peer in ("aiohttp", "before") if peer in servers]
    pairs = [(case, server) for case in cases for server in servers if (case.name, server) in results.runs]
    load_rows = [_load_row(results, case, server, peers) for case, server in pairs if case.rate > 0]
    open_rows = [_open_row(results, case, server, openers) for case, server in pairs if case.rate == 0]
    load_head = ["case", "server", "µs/delivery", *(f"× {peer}" for peer in peers)]
    load_head += ["p50 ms", "p99 ms", "p99.9 ms", "lost", "server CPU %", "other CPU"]
    parts = [f"`{command}`", table(["fact", "value"], [[name, value] for name, value in facts.items()])]
    parts.append("\n".join(f"* **{case.name}**: {case.about}" for case in cases))
    if load_rows:
        parts.append(table(load_head, load_rows))
    if open_rows:
        times = [f"× {peer}" for peer in openers]
        parts.append(table(["case", "server", "KB/socket", "CPU µs/handshake", *times, "handshakes/s"], open_rows))
    if marks:
        parts.append(table(["mark", "measured", "met"], marks))
    if results.problems:
        parts.append("Problems:\n\n" + "\n".join(f"* {problem}" for problem in results.problems))
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, facts: Mapping[str, str], command: str, marks: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The same for programs: every single measurement, by case and server."""
    runs: dict[str, dict[str, list[dict[str, float] | None]]] = {}
    for (case, server), measurements in results.runs.items():
        runs.setdefault(case, {})[server] = [run.as_dict() if run else None for run in measurements]
    return {
        "command": command,
        "machine": dict(facts),
        "runs": runs,
        "marks": [{"mark": mark, "measured": measured, "met": met} for mark, measured, met in marks],
        "problems": results.problems,
        "failed": results.failed,
    }
