"""The arguments of ``telemetry-bridge share``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.cli.arguments import MAX_DURATION_SECONDS
from bridge.cli.main import parser
from share.cli import arguments
from share.cli.arguments import MAX_PASSWORD_BYTES

Refused = argparse.ArgumentTypeError


@pytest.mark.parametrize(
    "text, seconds",
    [("90", 90), ("90s", 90), ("1.5m", 90), (" 2 h", 7_200), ("30d", 2_592_000), ("0", 0), ("0.5", 0.5)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """Days too: shares may last. Whole seconds are whole numbers on the wire."""
    assert arguments.share_duration(text) == seconds
    assert isinstance(arguments.share_duration(text), int) is (seconds == int(seconds))


@pytest.mark.parametrize("text", ["", "soon", "1w", "-1", "1h30m", "nan", "1e9", "٣h", "9" * 400, "3661d"])
def test_other_durations_are_refused_with_what_works(text: str) -> None:
    """Other scripts' digits and numbers beyond a decade too."""
    with pytest.raises(Refused, match=r"write 90s, 15m, 1h or 30d$"):
        arguments.share_duration(text)


def test_the_longest_duration_is_ten_years() -> None:
    """The limit itself is let through."""
    assert arguments.share_duration(f"{MAX_DURATION_SECONDS:.0f}") == MAX_DURATION_SECONDS


def test_a_share_lasts_longer_than_nothing() -> None:
    """No delay is fine, no life is not."""
    assert arguments.share_life("1s") == 1
    with pytest.raises(Refused, match="longer than 0 seconds"):
        arguments.share_life("0h")


@pytest.mark.parametrize("text", ["2026-11-22T18:00:00Z", "2026-11-22T19:00:00+01:00", "2026-11-22t18:00:00.000z"])
def test_times_are_sent_in_utc(text: str) -> None:
    """Whatever the zone they were written in."""
    assert arguments.moment(text) == "2026-11-22T18:00:00.000Z"


@pytest.mark.parametrize(
    "text", ["", "18:00", "2026-11-22", "2026-11-22T18:00:00", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+23:59"]
)
def test_a_time_without_a_zone_or_off_the_calendar_is_refused(text: str) -> None:
    """With two times that work."""
    with pytest.raises(Refused, match=r"with its zone, .*Z or .*\+01:00"):
        arguments.moment(text)


@pytest.mark.parametrize(
    "text, place",
    [
        ("-33.4,-70.6", (-33.4, -70.6)),
        (" 90 , 180 ", (90.0, 180.0)),
        ("-90,-180", (-90.0, -180.0)),
        ("+1.,2", (1.0, 2.0)),
    ],
)
def test_places_are_read(text: str, place: tuple[float, float]) -> None:
    """In all four corners of the world."""
    assert arguments.coordinates(text) == place


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "90.1,0", "0,180.1", "nan,0", "1e1,0", "33°,70°", "١,٢", "1;2"])
def test_what_is_no_place_is_refused(text: str) -> None:
    """With one that is."""
    with pytest.raises(Refused, match=r"-33\.4489,-70\.6693$"):
        arguments.coordinates(text)


@pytest.mark.parametrize("text, length", [("500", 500), ("500m", 500), ("2.5km", 2_500), ("0", 0)])
def test_lengths_are_read(text: str, length: float) -> None:
    """In metres unless it says kilometres."""
    assert arguments.metres(text) == length


@pytest.mark.parametrize(
    "read, text",
    [
        (arguments.metres, "-1"),
        (arguments.metres, "far"),
        (arguments.whole_number(1), "0"),
        (arguments.whole_number(0), "-1"),
        (arguments.whole_number(0), "1.5"),
        (arguments.whole_number(0), "9" * 10),
        (arguments.whole_number(0), "３"),
        (arguments.names, ""),
        (arguments.names, " ,"),
        (arguments.fields, "lat"),
        (arguments.fields, ""),
        (arguments.share_id, ""),
        (arguments.share_id, ".."),
        (arguments.share_id, "a/b"),
        (arguments.share_id, "a?b"),
        (arguments.share_id, "a" * 65),
    ],
)
def test_other_values_are_refused(read: Callable[[str], object], text: str) -> None:
    """By argparse's own kind of error, so that the option is named."""
    with pytest.raises(Refused):
        read(text)


def test_lists_hold_each_name_once() -> None:
    """In the order in which they were written."""
    assert arguments.names("B, A,B,,") == ["B", "A"]
    assert arguments.fields("time,speed_kmh,time") == ["time", "speed_kmh"]
    assert arguments.fields("none") == []


def test_an_alias_may_hold_an_equals_sign_and_so_may_an_id() -> None:
    """The devices of the share say where the id ends; the longest that fits counts."""
    assert arguments.parse_aliases(["A=B=C", "A=D=E"], ["A", "A=D"]) == {"A": "B=C", "A=D": "E"}


@pytest.mark.parametrize("texts", [["A"], ["C=x"], ["=x"], ["A="], ["A= "], ["A=x", "A=y"]])
def test_an_alias_without_device_or_name_is_refused(texts: list[str]) -> None:
    """Also two for one device."""
    with pytest.raises(ValueError, match="--alias"):
        arguments.parse_aliases(texts, ["A", "B"])


def test_ids_of_a_server_are_escaped_in_the_error() -> None:
    """``relabel`` names the devices that the server told."""
    with pytest.raises(ValueError, match="--alias") as caught:
        arguments.parse_aliases(["C=x"], ["\x1b[2J"])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("destination", [["--destination", "-33.4,-70.6"], ["--destination=-33.4,-70.6"]])
def test_the_south_is_a_destination(destination: list[str]) -> None:
    """As one word and as two; what follows is an option again."""
    options = parser().parse_args(["share", "create", "--devices", "A", "--ttl", "1h", *destination, "--trail", "3"])
    assert options.destination == (-33.4, -70.6)
    assert options.trail == 3


def test_a_destination_does_not_swallow_the_next_option() -> None:
    """Its value was forgotten: that is the error, not a strange place."""
    with pytest.raises(SystemExit):
        parser().parse_args(["share", "create", "--devices", "A", "--ttl", "1h", "--destination", "--trail", "3"])


# --- passwords -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"secret", b"secret\n", b"secret\r\n"])
def test_a_password_file_holds_one_line(data: bytes, tmp_path: Path) -> None:
    """The line's end is not part of it."""
    (tmp_path / "f").write_bytes(data)
    assert arguments.read_password(tmp_path / "f") == "secret"


def test_spaces_belong_to_a_password(tmp_path: Path) -> None:
    """At both ends and within; the largest size is let through."""
    (tmp_path / "f").write_text(" a b \n")
    assert arguments.read_password(tmp_path / "f") == " a b "
    (tmp_path / "f").write_bytes(b"x" * MAX_PASSWORD_BYTES)
    assert len(arguments.read_password(tmp_path / "f")) == MAX_PASSWORD_BYTES


@pytest.mark.parametrize("data", [b"", b"\n", b"sec\nret\n", b"sec\0ret", b"sec\xff", b"s" * (MAX_PASSWORD_BYTES + 1)])
def test_a_file_that_is_no_password_is_refused_without_quoting_it(data: bytes, tmp_path: Path) -> None:
    """Empty, of two lines, binary, or too large: the wrong file, perhaps a key."""
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(ValueError, match="the password file") as caught:
        arguments.read_password(tmp_path / "f")
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("typed, words", [(["a", "b"], "differ"), (["", ""], "no password")])
def test_a_password_is_typed_twice(typed: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip would lock every viewer out; none at all would let all in."""
    monkeypatch.setattr("getpass.getpass", lambda prompt: typed.pop(0))
    with pytest.raises(ValueError, match=words):
        arguments.ask_password()
