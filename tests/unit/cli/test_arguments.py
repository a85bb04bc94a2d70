"""Arguments of the command line."""

from __future__ import annotations

import argparse

import pytest

from bridge.cli.arguments import duration, port_number


@pytest.mark.parametrize("text, seconds", [("90", 90), ("90s", 90), ("1.5m", 90), (" 2 h", 7200), ("0", 0)])
def test_durations_are_read(text: str, seconds: float) -> None:
    """With and without a unit."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "7d", "1w", "-1", "1h30m", "nan"])
def test_other_durations_are_refused_with_what_works(text: str) -> None:
    """Nothing is recommended that the next check would refuse: a token lives for a day at most."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"write 90s, 15m or 1h$"):
        duration(text)


@pytest.mark.parametrize("text", ["0", "8000", "65535"])
def test_ports_are_read(text: str) -> None:
    """Both corners."""
    assert port_number(text) == int(text)


@pytest.mark.parametrize("text", ["", "-1", "65536", "8000.0", "x", "９", "000008000000", " 1"])
def test_other_ports_are_refused(text: str) -> None:
    """As an argument, not as a setting that nobody has set."""
    with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 65535"):
        port_number(text)
