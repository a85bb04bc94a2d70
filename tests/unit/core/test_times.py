"""RFC 3339 times as text: what is taken, and what it means, held against one regular expression and the library."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.core.times import parse_time

RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


def meaning(text: str) -> float | None:
    """What the library makes of ``text`` where it is an RFC 3339 time within the years 1 to 9999 of UTC."""
    if RFC_3339.fullmatch(text) is None:
        return None
    try:
        at = datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None
    first = datetime.fromisoformat("0001-01-01T00:00:00Z").timestamp()
    return at if first <= at <= datetime.fromisoformat("9999-12-31T23:59:59Z").timestamp() else None


def parsed(value: object) -> float | None:
    """What our parser makes of it."""
    try:
        return parse_time(value)
    except ValueError:
        return None


def texts(*choices: str) -> st.SearchStrategy[str]:
    """One of these."""
    return st.sampled_from(choices)


def digits(least: int, most: int, width: int = 2) -> st.SearchStrategy[str]:
    """A number with leading zeros."""
    return st.integers(least, most).map(lambda number: f"{number:0{width}}")


TIMES = st.tuples(
    digits(0, 9999, 4) | texts("0001", "9999", "2024", "٢٠٢٤", "+024"), texts("-"), digits(0, 13), texts("-", "-W"),
    digits(0, 32), texts("T", "t", " ", "_"), digits(0, 24), texts(":", ""), digits(0, 60), texts(":", ""),
    digits(0, 61),
    st.just("") | st.from_regex(r"[.,][0-9]{0,10}", fullmatch=True),
    texts("Z", "z", "", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+0000", "+01", "-07:30", "+05:45"),
).map("".join)  # fmt: skip


@settings(max_examples=2000)
@given(TIMES | st.text(max_size=40))
@example("0001-01-01T00:00:00+00:01")
@example("0001-01-01T00:00:00Z")
@example("9999-12-31T23:59:59.999999Z")
@example("9999-12-31T23:59:59-00:01")
@example("2024-02-29T23:59:59.1234567Z")
@example("2023-02-29T23:59:59Z")
@example("2024-12-11T10:30:60Z")
@example("2024-12-11T24:00:00Z")
@example("2024-12-11T10:30:00Z\n")
def test_time_is_taken_and_read_as_the_library_reads_what_rfc_3339_allows(text: str) -> None:
    """To the microsecond, and not one text more or less."""
    assert parsed(text) == meaning(text)


@pytest.mark.parametrize("value", [None, True, 1733913000, 1.5, b"2024-12-11T10:30:00Z", ["2024-12-11T10:30:00Z"], {}])
def test_what_is_no_text_is_no_time(value: object) -> None:
    """Numbers have a meaning elsewhere, not here."""
    assert parsed(value) is None
