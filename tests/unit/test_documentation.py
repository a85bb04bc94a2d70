"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.core import limits
from bridge.core.errors import PayloadCause
from bridge.protocol.closing import CloseReason
from share.page.page import load_texts
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


def test_every_limit_in_the_table_of_buffers_is_the_one_in_the_code() -> None:
    """Each ``NAME = value`` in the README's table of buffers is true, and the sizes of the hot path are all there."""
    stated = dict(re.findall(r"`([A-Z_]+) = ([\d,]+(?: KiB| MiB)?)`", TEXT))
    units = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}
    for name, text in stated.items():
        number, _, unit = text.replace(",", "").partition(" ")
        assert getattr(limits, name) == int(number) * units[unit], name
    assert set(stated) >= {"HANDOFF_MESSAGES", "HANDOFF_BYTES", "CHUNK_BYTES", "HISTORY_BYTES", "LOG_RECORDS"}


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


def test_every_wing_is_in_the_source_tour() -> None:
    """The README's tour names every wing of both packages, in ten lines."""
    tour = TEXT[TEXT.index("## Source tour") : TEXT.index("Contributing: ")]
    wings = {path.parent.name for package in ("bridge", "share") for path in (ROOT / package).glob("*/__init__.py")}
    assert sorted(wing for wing in wings if f"{wing}/`" not in tour) == []
    assert tour.count("\n| `") <= 10
