"""The documentation says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bridge.access import groups
from bridge.app import Limits
from bridge.core import limits
from bridge.core.errors import PayloadCause
from bridge.protocol.closing import CloseReason
from bridge.settings import Settings
from share.api import passwords
from share.model import limits as share_limits
from share.page.page import load_texts
from share.stream import channel, projection
from tests.tables import README, closing_table, settings_table

ROOT = README.parent
TEXT = README.read_text()


def test_every_setting_is_in_the_readme_with_its_default_and_meaning() -> None:
    """The README's table of settings is the one that the code would print."""
    missing = [row for row in settings_table() if row not in TEXT]
    assert not missing, "run `python -m tests.tables` and paste"
    documented = re.findall(r"^\| `(BRIDGE_[A-Z_]+)` \|", TEXT, re.MULTILINE)
    assert documented == re.findall(r"`(BRIDGE_[A-Z_]+)`", "\n".join(row.split("|")[1] for row in settings_table()[2:]))


def test_every_close_code_is_in_the_readme() -> None:
    """Codes, reasons and advice stand in the README as in the enum."""
    assert [row for row in closing_table() if row not in TEXT] == []


def test_close_texts_fit_a_close_frame() -> None:
    """A Close frame has room for 123 bytes of text (RFC 6455 section 5.5)."""
    assert all(len(reason.text.encode()) <= 123 for reason in CloseReason)


def limits_in_the_code() -> dict[str, float]:
    """Every limit that the README may name: the constants, and the fields of each wing's limits."""
    named: dict[str, float] = {name: value for name, value in vars(limits).items() if name.isupper()}
    for module in (groups, share_limits, channel, projection, passwords):
        named |= {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int)}
    for part in fields(Limits()):
        values = getattr(Limits(), part.name)
        named |= {field.name: getattr(values, field.name) for field in fields(values)}
    return named


def test_every_limit_in_the_table_of_buffers_is_the_one_in_the_code() -> None:
    """Each ``NAME = value`` in the README's table of buffers is true, and the sizes of the hot path are all there."""
    stated = dict(re.findall(r"`([A-Za-z_]+) = ([\d,]+(?: KiB| MiB)?)`", TEXT))
    units = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}
    known = limits_in_the_code()
    for name, text in stated.items():
        number, _, unit = text.replace(",", "").partition(" ")
        assert known[name] == int(number) * units[unit], name
    inside = {"HANDOFF_MESSAGES", "HANDOFF_BYTES", "HISTORY_BYTES", "MQTT_READ_BYTES", "LOG_RECORDS"}
    written = {"CHUNK_BYTES", "HIGH_WATER_BYTES", "LOW_WATER_BYTES", "NOTSENT_LOWAT_BYTES", "WRITE_SECONDS"}
    read = {"READ_BYTES", "READ_FRAMES_PER_SECOND", "READ_BYTES_PER_SECOND", "READ_SECONDS", "MAX_MESSAGE_BYTES"}
    assert set(stated) >= inside | written | read


def test_every_row_of_the_table_of_buffers_names_its_bound() -> None:
    """A bound is a limit with its value, or a setting; a number alone could change without notice."""
    table = TEXT[TEXT.index("| buffer | bound |") :].split("\n\n")[0]
    bounds = [row.split(" | ")[1] for row in table.splitlines()[2:]]
    settings = {f"BRIDGE_{name.upper()}" for name in Settings.model_fields}
    for bound in bounds:
        assert " = " in bound or set(re.findall(r"BRIDGE_[A-Z_]+", bound)) & settings or "hard limit" in bound, bound
    assert set(re.findall(r"BRIDGE_[A-Z_]+", table)) <= settings


@pytest.mark.parametrize("cause", list(PayloadCause))
def test_every_cause_of_refusal_is_explained(cause: PayloadCause) -> None:
    """Who sees a counter in the stats finds it in the troubleshooting page."""
    assert f"`{cause}`" in (ROOT / "docs" / "troubleshooting.md").read_text()


def test_what_the_share_page_says_is_quoted_as_it_says_it() -> None:
    """Who looks for the words on the screen finds them."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    table = page[page.index("| the page says |") :].split("\n\n")[0]
    quoted = re.findall(r'^\| "([^"]+)" \|', table, re.MULTILINE)
    assert len(quoted) == table.count("\n") - 1
    said = {text.partition("{")[0].strip() for text in load_texts()["en"].values()}
    said |= {text.partition(". ")[0] + "." for text in load_texts()["en"].values()}
    assert [text for text in quoted if text not in said] == []


@pytest.mark.parametrize("path", [README, *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name)
def test_links_between_the_pages_lead_somewhere(path: Path) -> None:
    """A relative link names a file that exists."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


TOUR = TEXT[TEXT.index("## Source tour") : TEXT.index("Contributing: ")]


def test_every_wing_is_in_the_source_tour() -> None:
    """The README's tour names every wing of both packages, in ten lines."""
    wings = {path.parent.name for package in ("bridge", "share") for path in (ROOT / package).glob("*/__init__.py")}
    assert sorted(wing for wing in wings if f"{wing}/`" not in TOUR) == []
    assert TOUR.count("\n| `") <= 10


@pytest.mark.parametrize("row", re.findall(r"^\| (`.+) \|$", TOUR, re.MULTILINE))
def test_every_module_in_the_source_tour_lives_where_it_says(row: str) -> None:
    """Who looks for a module in the wing of its line finds it there; a folder or a class is found there, too."""
    wings, _, text = row.partition(" | ")
    folders = [ROOT / wing for wing in re.findall(r"`([a-z/]+)/`", wings)]
    assert folders and all(folder.is_dir() for folder in folders), wings
    found = {path.stem for folder in folders for path in folder.rglob("*.py")}
    assert [name for name in re.findall(r"`([a-z_]+)`", text) if name not in found] == []
    inside = {path.name for folder in folders for path in folder.iterdir() if path.is_dir()}
    assert [name for name in re.findall(r"`([a-z_]+)/`", text) if name not in inside] == []
    assert [
        path for path in re.findall(r"`((?:bridge|share)/[a-z_/]+\.py)`", text) if not (ROOT / path).is_file()
    ] == []


def test_the_way_from_mqtt_to_a_socket_is_one_of_modules_that_exist() -> None:
    """Every step of the way is a file of that name."""
    way = TOUR[TOUR.index("From MQTT to a socket") : TOUR.index("| wing |")]
    steps = re.findall(r"`([a-z_/]+)`", way)
    assert len(steps) >= 8
    packages = [ROOT / "bridge", ROOT]
    assert [step for step in steps if not any((each / f"{step}.py").is_file() for each in packages)] == []


@pytest.mark.parametrize("page", ["protocol.md", "threats.md", "troubleshooting.md"])
def test_the_budget_of_one_client_is_the_one_in_the_code(page: str) -> None:
    """Who has to stay below it reads the right numbers, on each page that has them."""
    text = (ROOT / "docs" / page).read_text()
    assert f"{limits.READ_FRAMES_PER_SECOND} frames" in text
    assert f"{limits.READ_BYTES_PER_SECOND // 1024} KiB" in text
    assert limits.READ_SECONDS == 3 and "three" in text


def test_the_times_of_closing_are_those_in_the_code() -> None:
    """Last words, the Close frame, an expired credential: each has its time."""
    page = (ROOT / "docs" / "protocol.md").read_text()
    closing = page[page.index("## Closing") : page.index("## Reconnecting")]
    assert f"waits {limits.CLOSE_SECONDS:g} s" in closing
    assert f"up to {limits.WRITE_SECONDS:g} s" in closing
    assert f"{limits.EXPIRY_GRACE_SECONDS * 1000:g} ms after `expired`" in closing
    assert f"after {limits.LINGER_SECONDS:g} s" in closing


def documented_codes() -> set[str]:
    """The codes in the protocol's table of errors."""
    page = (ROOT / "docs" / "protocol.md").read_text()
    table = page[page.index("## Error codes") : page.index("## Delivery")]
    return {
        code for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for code in re.findall(r"`([a-z_0-9]+)`", row)
    }


def test_every_error_code_of_the_stream_is_in_the_protocol() -> None:
    """What the authenticated stream can answer is in the table, with what to do about it."""
    raised = re.compile(r'(?:CommandError|TokenError|error_frame|(?:self|session)\.refuse)\(\s*"([a-z_0-9]+)"')
    wings = ("access", "core", "protocol", "stream")
    sources = [path.read_text() for wing in wings for path in (ROOT / "bridge" / wing).rglob("*.py")]
    codes = {code for source in sources for code in raised.findall(source)}
    assert len(codes) >= 15
    assert codes <= documented_codes()
