"""The marks that the bridge is held to, checked against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import ge, le, lt
from statistics import median
from typing import Final

from bench.measure import Measurement
from bench.report import Value, ratio
from bench.session import Results

FLOOR_RATIO: Final = 1.35
NATS_W2_RATIO: Final = 0.65
NATS_W3_RATIO: Final = 1.0
W3_P99_MS: Final = 5.0
LIGHT_P99_MS: Final = 3.0
SHARE_RATIO: Final = 1.2
"""Public viewers of one device ÷ operators who watch it: what is projected is projected once."""
IDLE_KB: Final = 14.0
HANDSHAKE_US: Final = 200.0
HANDSHAKES_PER_S: Final = 4000.0
SCALE_RATIO: Final = 1.1
SLOW_P99_RATIO: Final = 1.2
STALLED_KB: Final = 256 + 64
"""The bound of a queue (QUEUE_BYTES, 256 KiB) and 64 KiB for everything else."""
STALLED_SOCKETS: Final = 200

US = "bridge"
PUBLIC = "share"
Row = tuple[str, str, str]


def _cost(run: Measurement) -> float:
    return run.us_per_delivery


def _p99(run: Measurement) -> float:
    return run.p99_ms


def _row(mark: str, measured: float | None, limit: float, met: Callable[[float, float], bool] = le) -> Iterator[Row]:
    if measured is not None:
        yield mark, f"{measured:.2f}", "yes" if met(measured, limit) else "**no**"


def _median(results: Results, case: str, value: Value) -> float | None:
    runs = results.of(case, US)
    return median(value(run) for run in runs) if runs else None


def _between(results: Results, case: str, base: str, value: Value, server: str = US) -> float | None:
    """Median over the rounds of a server in ``case`` ÷ the same server in ``base``."""
    pairs = zip(results.runs.get((case, server), []), results.runs.get((base, server), []), strict=False)
    ratios = [value(run) / value(other) for run, other in pairs if run and other and value(other) > 0]
    return median(ratios) if ratios else None


def _stalled_kb(results: Results) -> float | None:
    with_stalled = _median(results, "slow-200", lambda run: run.rss_end_kb)
    without = _median(results, "slow-0", lambda run: run.rss_end_kb)
    if with_stalled is None or without is None:
        return None
    return (with_stalled - without) / STALLED_SOCKETS


def _lost(results: Results, case: str) -> float | None:
    runs = results.of(case, US)
    return float(sum(abs(run.lost) for run in runs)) if runs else None


def check_marks(results: Results) -> list[Row]:
    """(mark, measured, yes or no) for every mark that these results can speak about."""
    rows: list[Row] = []
    rows += _row(f"W1 ≤ {FLOOR_RATIO} × floor", ratio(results, "W1", US, "floor", _cost), FLOOR_RATIO)
    rows += _row("W1 below nchan (ratio < 1)", ratio(results, "W1", US, "nchan", _cost), 1.0, lt)
    rows += _row(f"W2 ≤ {NATS_W2_RATIO} × NATS", ratio(results, "W2", US, "nats", _cost), NATS_W2_RATIO)
    rows += _row("W2 p99 below NATS (ratio < 1)", ratio(results, "W2", US, "nats", _p99), 1.0, lt)
    rows += _row("W2 nothing lost", _lost(results, "W2"), 0)
    rows += _row(f"W3 ≤ {NATS_W3_RATIO} × NATS", ratio(results, "W3", US, "nats", _cost), NATS_W3_RATIO)
    rows += _row(f"W3 p99 < {W3_P99_MS} ms", _median(results, "W3", _p99), W3_P99_MS, lt)
    public = ratio(results, "W1", PUBLIC, US, _cost)
    rows += _row(f"W1 of public viewers ≤ {SHARE_RATIO} × bridge", public, SHARE_RATIO)
    rows += _row(f"idle ≤ {IDLE_KB} KB/socket", _median(results, "idle", lambda run: run.kb_per_socket), IDLE_KB)
    handshake = _median(results, "handshake", lambda run: run.us_per_open)
    rows += _row(f"handshake ≤ {HANDSHAKE_US:.0f} µs CPU", handshake, HANDSHAKE_US)
    opens = _median(results, "handshake", lambda run: run.opens_per_s)
    rows += _row(f"handshakes ≥ {HANDSHAKES_PER_S:.0f}/s", opens, HANDSHAKES_PER_S, ge)
    rows += _row(f"light load p99 < {LIGHT_P99_MS} ms", _median(results, "light", _p99), LIGHT_P99_MS, lt)
    slow = _between(results, "slow-200", "slow-0", _p99)
    rows += _row(f"200 stalled: p99 of the good ≤ {SLOW_P99_RATIO} × without", slow, SLOW_P99_RATIO)
    rows += _row(f"200 stalled: ≤ {STALLED_KB} KB each", _stalled_kb(results), STALLED_KB)
    scale = _between(results, "scale-10k", "scale-1k", _cost)
    rows += _row(f"10,000 sockets: cost ≤ {SCALE_RATIO} × 1,000", scale, SCALE_RATIO)
    floor = _between(results, "scale-10k", "scale-1k", _cost, "floor")
    if floor is not None:
        rows.append(("the floor's own 10,000 ÷ 1,000: what kernel and caches cost", f"{floor:.2f}", "no mark"))
    return rows
