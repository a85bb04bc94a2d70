"""The marks that the bridge is held to, checked against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import le, lt
from statistics import median
from typing import Final

from bench.measure import Measurement
from bench.report import Value, ratio
from bench.session import Results

FLOOR_RATIO: Final = 1.3
NATS_W2_RATIO: Final = 0.55
NATS_W3_RATIO: Final = 1.0
W3_P99_MS: Final = 5.0
LIGHT_P99_MS: Final = 1.0
SHARE_RATIOS: Final = {"W1": 1.0, "W3": 1.4}
"""Public viewers ÷ operators who watch the same: a thousand of one share, and one of each of a thousand shares."""
IDLE_KB: Final = 6.0
HANDSHAKE_RATIO: Final = 1.2
"""Token verified ÷ a WebSocket of aiohttp alone."""
SCALE_RATIO: Final = 1.1
"""Or the floor's own growth in the same run, where that is more."""
SLOW_P99_RATIO: Final = 1.2
STALLED_KB: Final = 256 + 64
"""The bound of a queue (QUEUE_BYTES, 256 KiB) and 64 KiB for everything else."""
STALLED_SOCKETS: Final = 200

US = "bridge"
PUBLIC = "share"
BARE = "aiohttp"
Row = tuple[str, str, str]


def _cost(run: Measurement) -> float:
    return run.us_per_delivery


def _p99(run: Measurement) -> float:
    return run.p99_ms


def _kb(run: Measurement) -> float:
    return run.kb_per_socket


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


def _fan_out(results: Results) -> Iterator[Row]:
    yield from _row(f"W1 ≤ {FLOOR_RATIO} × floor", ratio(results, "W1", US, "floor", _cost), FLOOR_RATIO)
    yield from _row("W1 below nchan (ratio < 1)", ratio(results, "W1", US, "nchan", _cost), 1.0, lt)
    yield from _row(f"W2 ≤ {NATS_W2_RATIO} × NATS", ratio(results, "W2", US, "nats", _cost), NATS_W2_RATIO)
    yield from _row("W2 p99 below NATS (ratio < 1)", ratio(results, "W2", US, "nats", _p99), 1.0, lt)
    for case in ("W3", "W3-12k"):
        yield from _row(f"{case} ≤ {NATS_W3_RATIO} × NATS", ratio(results, case, US, "nats", _cost), NATS_W3_RATIO)
    yield from _row(f"W3 p99 < {W3_P99_MS} ms", _median(results, "W3", _p99), W3_P99_MS, lt)
    for case in ("W1", "W2", "W3", "W3-12k"):
        yield from _row(f"{case} nothing lost", _lost(results, case), 0)
    for case, limit in SHARE_RATIOS.items():
        public = ratio(results, case, PUBLIC, US, _cost)
        yield from _row(f"{case} of public viewers ≤ {limit} × bridge", public, limit)
    yield from _row(f"light load p99 < {LIGHT_P99_MS} ms", _median(results, "light", _p99), LIGHT_P99_MS, lt)


def _sockets(results: Results) -> Iterator[Row]:
    yield from _row(f"idle ≤ {IDLE_KB} KB/socket", _median(results, "idle", _kb), IDLE_KB)
    over_tls = _median(results, "idle-tls", _kb)
    if over_tls is not None:
        yield "idle over TLS, KB/socket", f"{over_tls:.2f}", "no mark"
    handshake = ratio(results, "handshake", US, BARE, lambda run: run.us_per_open)
    yield from _row(f"handshake, token verified ≤ {HANDSHAKE_RATIO} × aiohttp alone", handshake, HANDSHAKE_RATIO)


def _crowds(results: Results) -> Iterator[Row]:
    slow = _between(results, "slow-200", "slow-0", _p99)
    yield from _row(f"200 stalled: p99 of the good ≤ {SLOW_P99_RATIO} × without", slow, SLOW_P99_RATIO)
    yield from _row(f"200 stalled: ≤ {STALLED_KB} KB each", _stalled_kb(results), STALLED_KB)
    scale = _between(results, "scale-10k", "scale-1k", _cost)
    floor = _between(results, "scale-10k", "scale-1k", _cost, "floor")
    limit = max(SCALE_RATIO, floor or 0.0)
    yield from _row(f"10,000 sockets: cost ≤ {SCALE_RATIO} × 1,000, or the floor's own growth", scale, limit)
    if floor is not None:
        yield "the floor's own 10,000 ÷ 1,000: what kernel and caches cost", f"{floor:.2f}", "no mark"


def check_marks(results: Results) -> list[Row]:
    """(mark, measured, yes or no) for every mark that these results can speak about."""
    return [*_fan_out(results), *_sockets(results), *_crowds(results)]
