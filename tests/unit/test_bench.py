"""The benchmark's own arithmetic: what it reports must follow from what it measured."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from bench.attack import FRAMES, Attack
from bench.client import ServerFrames, client_frame
from bench.marks import check_marks
from bench.measure import Measurement, parse
from bench.public import Share
from bench.report import markdown, ratio, spread
from bench.session import Results
from bench.strangers import WHERE, Outcome, attacks, percentile
from bench.viewer import Watched
from bench.workloads import WORKLOADS

SAMPLE: dict[str, Any] = {
    "opens_per_s": 5000.0,
    "delivered_per_s": 20000.0,
    "expected": 60000,
    "delivered": 60000,
    "closed": 0,
    "last_close_code": 0,
    "stalled_cut": 0,
    "load_cpu_share": 0.3,
    "other_cpu_share": 0.0,
    "publisher_late_ms": 0.1,
    "latency_ms": {"samples": 60000, "p50": 1.0, "p90": 2.0, "p99": 3.0, "p99_9": 4.0, "max": 5.0},
    "processes": {
        "server": {
            "cpu_share": 0.1,
            "us_per_delivery": 6.0,
            "us_per_open": 150.0,
            "kb_per_socket": 12.0,
            "rss_end_kb": 9,
        },
        "mqtt": {"cpu_share": 0.2},
    },
}


def measurement(us: float = 6.0, delivered: int = 60000, **changes: Any) -> Measurement:
    """What a run with this result of the load generator gives."""
    sample = copy.deepcopy(SAMPLE) | {"delivered": delivered} | changes
    sample["processes"]["server"]["us_per_delivery"] = us
    return parse(sample)


def test_load_share_contains_the_mqtt_broker_beside_it() -> None:
    """The core of the load generator is shared with the MQTT broker, so both count towards its being full."""
    assert measurement().load_cpu_share == pytest.approx(0.5)


def test_a_clean_run_has_no_warnings() -> None:
    """Nothing lost, nothing closed, a quiet machine: nothing to say."""
    assert measurement().warnings() == []


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"delivered": 59000}, "lost 1000 of 60000"),
        ({"delivered": 60001}, "duplicates"),
        ({"closed": 2, "last_close_code": 1013}, "1013"),
        ({"load_cpu_share": 0.9}, "core was full"),
        ({"other_cpu_share": 0.5}, "other programs"),
    ],
)
def test_every_doubt_about_a_run_is_said(changes: dict[str, Any], word: str) -> None:
    """Losses, duplicates, closed sockets and a busy machine are named, never hidden."""
    assert word in " ".join(measurement(**changes).warnings())


def test_spread_shows_median_and_range() -> None:
    """Three rounds become the median with the range; equal ones and single ones show no range."""
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0–3.0)"
    assert spread([2.0, 2.0], 1) == "2.0"
    assert spread([], 1) == "–"


def test_a_ratio_is_taken_within_each_round() -> None:
    """A slow round slows both servers; dividing inside the round cancels it, and a failed round is left out."""
    results = Results(
        {
            ("W1", "bridge"): [measurement(6.0), measurement(60.0), None],
            ("W1", "floor"): [measurement(5.0), measurement(50.0)],
        }
    )
    assert ratio(results, "W1", "bridge", "floor", lambda run: run.us_per_delivery) == pytest.approx(1.2)
    assert ratio(results, "W1", "bridge", "nats", lambda run: run.us_per_delivery) is None


def test_marks_speak_only_of_what_was_measured() -> None:
    """With the bridge and the floor on W1 there are two marks: the ratio, met or not, and that nothing was lost."""
    good = Results({("W1", "bridge"): [measurement(6.0)], ("W1", "floor"): [measurement(5.0)]})
    bad = Results({("W1", "bridge"): [measurement(7.0)], ("W1", "floor"): [measurement(5.0)]})
    assert [row[2] for row in check_marks(good)] == ["yes", "yes"]
    assert [row[2] for row in check_marks(bad)] == ["**no**", "yes"]


@pytest.mark.parametrize(
    "case, us, met", [("W1", 6.0, "yes"), ("W1", 6.1, "**no**"), ("W3", 8.3, "yes"), ("W3", 8.5, "**no**")]
)
def test_public_viewers_are_held_to_the_operators_of_the_same_run(case: str, us: float, met: str) -> None:
    """A viewer may cost what an operator costs, and 1.4 × that with a share each; the ratio stands in the table too."""
    results = Results({(case, "bridge"): [measurement(6.0)], (case, "share"): [measurement(us)]})
    assert met in {row[2] for row in check_marks(results) if "public" in row[0]}
    assert "× bridge" in markdown(results, WORKLOADS[case], {}, "run", [])


@pytest.mark.parametrize("us, met", [(180.0, "yes"), (181.0, "**no**")])
def test_a_handshake_is_held_to_that_of_aiohttp_alone(us: float, met: str) -> None:
    """Token verified, it may cost 1.2 × a bare WebSocket of the same run; without one there is no mark."""
    ours, theirs = measurement(), replace(measurement(), us_per_open=150.0)
    results = Results({("handshake", "bridge"): [replace(ours, us_per_open=us)]})
    assert check_marks(results) == []
    results.runs["handshake", "aiohttp"] = [theirs]
    assert [row[2] for row in check_marks(results)] == [met]
    assert "× aiohttp" in markdown(results, WORKLOADS["handshake"], {}, "run", [])


@pytest.mark.parametrize("floor, met", [(5.0, "**no**"), (6.0, "yes")])
def test_many_sockets_may_cost_what_they_cost_the_floor(floor: float, met: str) -> None:
    """1.2 × is too much where the floor grows by nothing, and none of our doing where it grows as much itself."""
    runs: dict[tuple[str, str], list[Measurement | None]] = {
        ("scale-1k", "bridge"): [measurement(10.0)],
        ("scale-10k", "bridge"): [measurement(12.0)],
        ("scale-1k", "floor"): [measurement(5.0)],
        ("scale-10k", "floor"): [measurement(floor)],
    }
    assert check_marks(Results(runs))[0][2] == met


def test_the_public_side_is_compared_with_the_public_side_of_before() -> None:
    """Not with the authenticated stream of the other checkout."""
    runs: dict[tuple[str, str], list[Measurement | None]] = {
        ("W1", "share"): [measurement(6.0)],
        ("W1", "before"): [measurement(2.0)],
        ("W1", "share-before"): [measurement(12.0)],
    }
    row = next(
        line for line in markdown(Results(runs), WORKLOADS["W1"], {}, "run", []).split("\n") if "| share |" in line
    )
    assert "| 6.00 | 0.50 |" in row


def test_viewers_of_shares_watch_one_device_each() -> None:
    """A share's token is for the device of its line, so a case whose sockets watch more would wait for ever."""
    cases = {case.name: case for group in WORKLOADS.values() for case in group}
    assert Share.cases is not None
    assert all(cases[name].watch == 1 and cases[name].stalled == 0 for name in Share.cases)


def test_lost_deliveries_stand_out_in_the_report() -> None:
    """The table of a lossy run gives the count and the share in bold."""
    results = Results({("W1", "bridge"): [measurement(delivered=57000)]})
    assert "**3,000 (5.0 %)**" in markdown(results, WORKLOADS["W1"], {}, "run", [])


def test_a_failed_run_stands_in_the_report() -> None:
    """A server that did not start is a row that says so."""
    results = Results({("W1", "bridge"): [None]}, problems=["W1 bridge round 1: failed: no"])
    text = markdown(results, WORKLOADS["W1"], {}, "run", [])
    assert "failed |" in text
    assert "* W1 bridge round 1: failed: no" in text


def test_no_case_watches_more_devices_than_publish() -> None:
    """The load generator refuses such a case, and names are the keys of the results, so they differ."""
    cases = [case for group in WORKLOADS.values() for case in group]
    assert all(case.watch <= case.devices for case in cases)
    assert len({case.name for case in cases}) == len(cases)


def test_a_client_frame_is_masked_unless_it_must_show_what_happens_without() -> None:
    """RFC 6455 section 5.2: fin and opcode, mask and length, then the masked payload."""
    assert client_frame(0x1, b"x", final=False) == b"\x01\x81\x5a\xa5\x3c\xc3" + bytes([ord("x") ^ 0x5A])
    assert client_frame(0xA, masked=False) == b"\x8a\x00"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_server_frames_are_read_whole_however_they_are_cut(size: int, step: int) -> None:
    """Every form of the length, with another frame behind it."""
    length = (
        bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
    )
    data = b"\x81" + length + b"x" * size + b"\x88\x02\x03\xf0"
    frames = ServerFrames()
    found = [frame for start in range(0, len(data), step) for frame in frames.feed(data[start : start + step])]
    assert found == [(0x1, b"x" * size), (0x8, b"\x03\xf0")]


def test_every_attack_is_tried_everywhere() -> None:
    """Three kinds of frames, masked or not, with a token or without, on three endpoints, each under its name."""
    listed = list(attacks(WHERE, FRAMES, "token", "shared"))
    assert len({attack.name for attack in listed}) == len(listed) == 3 * 2 * 2 * 3
    assert all(("token" in f"{attack.path}{attack.headers}") == attack.token for attack in listed)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", FRAMES)
def test_a_block_holds_whole_frames(kind: str, masked: bool) -> None:
    """So that the server can only object to what is meant to be wrong."""
    attack = Attack(kind, masked, "ws", "/")
    size = (6 if masked else 2) + (kind == "fragments")
    assert len(attack.block()) % size == 0
    assert attack.block()[:size] * 2 == attack.block()[: 2 * size]
    assert len(attack.opening()) == (0 if kind == "pongs" else size)


def test_percentile_is_a_value_that_was_measured() -> None:
    """The 99th of a hundred, the only one of one."""
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(
    "viewer, health, met",
    [
        (Watched((49.0, 1.0)), Watched((249.0,)), True),
        (Watched((50.0, 1.0)), Watched((1.0,)), False),
        (Watched((1.0,)), Watched((250.0,)), False),
        (Watched((1.0,), "closed"), Watched((1.0,)), False),
    ],
)
def test_strangers_are_judged_by_the_worst_that_the_honest_met(viewer: Watched, health: Watched, met: bool) -> None:
    """One late answer is enough, and so is one that never came; the row says which."""
    outcome = Outcome("pongs", "bridge", viewer, health, Counter({"1008": 5}))
    assert outcome.met is met
    assert "5 × 1008" in outcome.row()
    assert viewer.failure in " ".join(outcome.row())
