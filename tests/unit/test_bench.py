"""The benchmark's own arithmetic: what it reports must follow from what it measured."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bench.marks import check_marks
from bench.measure import Measurement, parse
from bench.public import Share
from bench.report import markdown, ratio, spread
from bench.session import Results
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
    """With the bridge and the floor on W1 there is one mark, and it is met or not."""
    good = Results({("W1", "bridge"): [measurement(6.0)], ("W1", "floor"): [measurement(5.0)]})
    bad = Results({("W1", "bridge"): [measurement(7.0)], ("W1", "floor"): [measurement(5.0)]})
    assert [row[2] for row in check_marks(good)] == ["yes"]
    assert [row[2] for row in check_marks(bad)] == ["**no**"]


@pytest.mark.parametrize("us, met", [(7.2, "yes"), (7.3, "**no**")])
def test_public_viewers_are_held_to_the_operators_of_the_same_run(us: float, met: str) -> None:
    """A delivery to a share's viewer may cost 1.2 × one to an operator, which stands in the table as well."""
    results = Results({("W1", "bridge"): [measurement(6.0)], ("W1", "share"): [measurement(us)]})
    assert [row[2] for row in check_marks(results)] == [met]
    assert "× bridge" in markdown(results, WORKLOADS["W1"], {}, "run", [])


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
