"""What ``telemetry-bridge share`` prints."""

from __future__ import annotations

import json
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from bridge.cli.terminal import text_width
from share.cli.view import as_json, details, local_time, summary, table

SHARE: dict[str, Any] = {
    "id": "k3", "status": "active", "device_ids": ["A", "B"], "aliases": {"A": "Van 1", "B": "B"}, "label": "Delivery",
    "owner": "ops", "created_at": "2026-11-21T10:00:00.000Z", "starts_at": "2026-11-21T12:00:00.000Z",
    "expires_at": "2026-11-22T18:00:00.000Z", "ended_at": None, "end_reason": None, "has_password": False,
    "max_viewers": None, "fields": ["time"], "precision_m": 0, "delay_s": 0, "trail": 100, "destination": None,
    "end_on_arrival": False, "viewers": {"now": 1, "total": 12},
}  # fmt: skip
BERLIN = timezone(timedelta(hours=1), "CET")


def test_times_are_shown_where_the_reader_is() -> None:
    """With the zone's name; a day later, where it is one."""
    assert local_time("2026-11-22T18:00:00.000Z", BERLIN) == "2026-11-22 19:00 CET"
    assert local_time("2026-11-22T23:30:00Z", BERLIN) == "2026-11-23 00:30 CET"
    assert local_time("2026-11-22T18:00:00.000Z", UTC) == "2026-11-22 18:00 UTC"


@pytest.mark.parametrize(
    "value, shown", [(None, "-"), ("soon\x1b[2J", r"soon\x1b[2J"), (7, "7"), ("9999-12-31T23:59:59Z", "9999-12-31")]
)
def test_what_is_no_time_is_shown_as_it_is(value: object, shown: str) -> None:
    """Escaped; the last day of the calendar is one too, whatever the zone makes of it."""
    assert local_time(value, BERLIN).startswith(shown)


def test_the_table_has_a_line_for_each_share() -> None:
    """Columns stand under their names."""
    assert table([SHARE, {**SHARE, "id": "longer", "label": ""}], BERLIN) == [
        "ID      STATUS  UNTIL                 VIEWERS  LABEL     DEVICES",
        "k3      active  2026-11-22 19:00 CET  1/12     Delivery  A, B",
        "longer  active  2026-11-22 19:00 CET  1/12     Van 1, B  A, B",
    ]


def test_a_share_that_is_over_shows_when_it_ended() -> None:
    """Not when it would have."""
    over = {**SHARE, "status": "revoked", "ended_at": "2026-11-21T13:00:00.000Z"}
    assert "2026-11-21 14:00 CET" in table([over], BERLIN)[1]


def test_wide_and_long_names_keep_the_columns_in_line() -> None:
    """Columns are counted as a terminal does, and no label fills the window."""
    lines = table([{**SHARE, "label": "北京" * 40}, SHARE], UTC)
    starts = {text_width(line[: line.rindex("A, B")]) for line in lines[1:]}
    assert len(starts) == 1
    assert "…" in lines[1]
    assert all(text_width(line) <= 120 for line in lines)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": 7, "viewers": [], "aliases": [], "device_ids": {}, "destination": 1, "fields": 3},
        {**SHARE, "viewers": {"now": True, "total": "x"}, "aliases": {"A": None}, "device_ids": [None, 3, "A"]},
        {**SHARE, "destination": {"lat": "x", "lon": None}, "precision_m": "x", "delay_s": [], "trail": {}},
    ],
)
def test_an_answer_that_lacks_something_is_shown_without_it(answer: dict[str, Any]) -> None:
    """An older or newer server ends no command in a traceback."""
    lines = [*table([answer], UTC), *details(answer, UTC), *summary(answer, UTC)]
    assert all(line.isprintable() for line in lines)
    assert "None" not in "".join(lines)


def test_details_name_what_is_limited() -> None:
    """And leave out what there is not."""
    facts = dict(line.split(":", 1) for line in details({**SHARE, "delay_s": 300.0, "precision_m": 500}, BERLIN))
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["delay"] == "300 s"
    assert facts["precision"] == "squares of 500 m"
    assert facts["shows"] == "position, time"
    assert facts["from"] == "2026-11-21 13:00 CET"
    assert not {"ended", "destination"} & set(facts)


def test_the_summary_says_what_until_when_and_how_to_end_it() -> None:
    """And from when, where it has not begun."""
    assert summary({**SHARE, "status": "upcoming"}, BERLIN) == [
        "shared A (Van 1), B from 2026-11-21 13:00 CET until 2026-11-22 19:00 CET, id k3",
        "end it early: telemetry-bridge share revoke k3",
    ]


def test_json_is_one_printable_line_that_means_the_same() -> None:
    """Times stay in RFC 3339."""
    answer = {**SHARE, "label": "\x1b[2J\x9b\u202e北\n"}
    assert as_json(answer).isprintable()
    assert json.loads(as_json(answer)) == answer
