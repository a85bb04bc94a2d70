"""The groups file: what it may say, and what the operator is told when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import auth
from bridge.auth import load_groups


def written(folder: Path, text: str | bytes) -> Path:
    """A groups file with ``text``."""
    path = folder / "groups.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_groups_are_read(tmp_path: Path) -> None:
    """Names, ids, patterns, an empty group, names of any script."""
    text = '[groups]\nnorth = ["A", "truck-*", "A"]\nempty = []\n"züge 1" = ["*"]\n'
    assert load_groups(written(tmp_path, text)) == {
        "north": {"A", "truck-*"},
        "empty": frozenset(),
        "züge 1": {"*"},
    }


def test_no_groups_is_a_choice(tmp_path: Path) -> None:
    """An empty table is fine; a file without it is a slip."""
    assert load_groups(written(tmp_path, "[groups]\n")) == {}


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "no table [groups]"),
        ("groups = 1", "no table [groups]"),
        ("[[groups]]\nnorth = []", "no table [groups]"),
        ('north = ["A"]', "no table [groups]"),
        ('[group]\nnorth = ["A"]', "no table [groups]"),
        ("[groups]\n[other]\n", "unknown key: 'other'"),
        ("[groups]\nnorth = 'A'", "group 'north' is not a list"),
        ("[groups]\nnorth = { A = 1 }", "group 'north' is not a list"),
        ("[groups]\nnorth.a = ['A']", "group 'north' is not a list"),
        ("[groups]\nnorth = ['A', 1]", "group 'north', entry 2: neither"),
        ("[groups]\nnorth = ['A', 'b/c']", "group 'north', entry 2: neither"),
        ("[groups]\nnorth = ['']", "group 'north', entry 1: neither"),
        ("[groups]\nnorth = [['A']]", "group 'north', entry 1: neither"),
        ("[groups]\n'a,b' = []", "group 'a,b': a name obeys"),
        ("[groups]\n'*' = []", "group '*': a name obeys"),
        ("[groups]\n'' = []", "group '': a name obeys"),
        ("[groups]\nnorth = ['A'", "not TOML: "),
        ("[groups]\nnorth = []\nnorth = []", "not TOML: "),
        (b"[groups]\nnorth = ['\xff']", "not TOML: "),
        (b"\x00", "not TOML: "),
    ],
)
def test_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str | bytes, reason: str) -> None:
    """The operator learns the group and the entry."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the reasons hold brackets; compared below
        load_groups(written(tmp_path, text))
    assert reason in str(caught.value)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder are said in words."""
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        load_groups(tmp_path / "absent.toml")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        load_groups(tmp_path)


def test_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is bounded before it is parsed: one byte too many is refused."""
    path = written(tmp_path, "[groups]\n")
    monkeypatch.setattr(auth, "MAX_GROUPS_FILE_BYTES", 9)
    assert load_groups(path) == {}
    monkeypatch.setattr(auth, "MAX_GROUPS_FILE_BYTES", 8)
    with pytest.raises(ValueError, match="more than 8 bytes"):
        load_groups(path)
