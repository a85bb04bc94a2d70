"""The groups file: what it may say, and what the operator reads when it is wrong."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from bridge.access.authenticator import Authenticator, mint
from bridge.access.groups import load_groups
from bridge.access.paseto import KeyRing, generate_key

RING = KeyRing([generate_key()])


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
        ("[groups]\n'a,b' = []", "group 'a,b': the name must be"),
        ("[groups]\n'*' = []", "group '*': the name must be"),
        ("[groups]\n'' = []", "group '': the name must be"),
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


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    """The size is bounded before it is parsed: one byte too many is refused."""
    path = written(tmp_path, "[groups]\n")
    assert load_groups(path, max_bytes=9) == {}
    with pytest.raises(ValueError, match="more than 8 bytes"):
        load_groups(path, max_bytes=8)


def test_group_has_a_greatest_size(tmp_path: Path) -> None:
    """One entry too many is refused with what to write instead."""
    assert load_groups(written(tmp_path, "[groups]\nnorth = ['A', 'B']"), max_members=2)["north"] == {"A", "B"}
    with pytest.raises(ValueError, match=r"group 'north' has 3 entries, the limit is 2: name a pattern such as truck-"):
        load_groups(written(tmp_path, "[groups]\nnorth = ['A', 'B', 'C']"), max_members=2)


def test_tokens_share_the_members_of_their_groups() -> None:
    """Any number of combinations of groups costs references, not copies (once 4 GB)."""
    names = [f"g{number}" for number in range(12)]
    groups = {name: frozenset(f"{name}-{number}" for number in range(5_000)) for name in names}
    authenticator = Authenticator(RING, groups)
    tracemalloc.start()
    try:
        for number in range(200):
            chosen = [name for bit, name in enumerate(names) if number >> bit & 1]
            token = mint(RING, subject="x", devices=["A"], groups=chosen, scopes=["stream"], ttl=60, now=0.0)
            allowed = authenticator.verify(token, 1.0).allowed
            assert all((f"{name}-4999" in allowed) == (name in chosen) for name in names)
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()
