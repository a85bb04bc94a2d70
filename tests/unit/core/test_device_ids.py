"""What can name a device, what a client may ask for, and what a pattern covers."""

from __future__ import annotations

import fnmatch
import tracemalloc
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.device_ids import EVERYTHING, Allowed, is_device_id, is_pattern, parse_device_ids, pattern_matcher
from bridge.core.errors import CommandError

DECOMPOSED, COMPOSED = "e\u0301", "\u00e9"

# --- device ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["A", "0848086072", "A B", "a.b", "a:b", "-", "_", "%00", "%2B", COMPOSED, "＊", "＋", "Ａ", "地図", "\U0001f69a",
     "x" * 64,
     "é" * 64, "'; DROP TABLE x", "<b>", '"', "__proto__", "$SYS", "~", "a.b.c", "."],
)  # fmt: skip
def test_ordinary_names_are_device_ids(text: str) -> None:
    """Any printable text up to 64 characters; full-width signs are ordinary characters."""
    assert is_device_id(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", " A", "A ", "A\n", "\tA", "+", "#", "*", "/", "\\", ",", "a+b", "a#", "a*", "a/b", "a\\b", "a,b", "..",
     "../", "a..b",
     "\0", "a\0b", "a\x1fb", "a\x7fb", "a\x85b", "a\u2028b", "a\u2029b", "a\u00a0b", "a\u200bb", "\ufeffa", "\u202ea",
     "a\u00adb",
     DECOMPOSED, "\ud800", "\ue000", "\uffff", "x" * 65, "\u212b"],
    ids=repr,
)  # fmt: skip
def test_names_that_could_be_mistaken_are_no_device_ids(text: str) -> None:
    """Wildcards, separators, paths, control and invisible characters, forms other than C, 65 characters."""
    assert not is_device_id(text)


@given(st.text(max_size=70))
def test_device_id_goes_into_a_list_and_comes_out_alone(text: str) -> None:
    """What is a device id survives the comma-separated list; it holds no wildcard and is its own normal form."""
    if is_device_id(text):
        assert parse_device_ids([f"{text},{text}"], 1) == (frozenset({text}), False)
        assert unicodedata.normalize("NFC", text) == text
        assert not set(text) & set("+#*/\\,\0")


# --- what a client asks for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts, ids, everything",
    [
        ([], set(), False),
        ([""], set(), False),
        ([" , ,"], set(), False),
        (["A"], {"A"}, False),
        (["A,,A, B"], {"A", "B"}, False),
        (["A", "B,C", "A"], {"A", "B", "C"}, False),
        (["\t A \n"], {"A"}, False),
        ([DECOMPOSED, COMPOSED], {COMPOSED}, False),
        (["＊,Ａ,＋"], {"＊", "Ａ", "＋"}, False),
        (["*"], set(), True),
        ([" * ,A,*"], {"A"}, True),
        (["\u212b"], {"\u00c5"}, False),  # the Ångström sign is the letter
        (["x" * 64], {"x" * 64}, False),
        ([DECOMPOSED * 64], {COMPOSED * 64}, False),  # 128 characters before, 64 after
    ],
)
def test_lists_of_device_ids_are_read_kindly(texts: list[str], ids: set[str], everything: bool) -> None:
    """Commas, blanks, empty items, repetitions and normal forms are no reason to refuse."""
    assert parse_device_ids(texts, 3) == (frozenset(ids), everything)


@pytest.mark.parametrize(
    "bad",
    ["+", "#", "/", "a/b", "../", "..", "a*", "**", "\\", "a\\b", "a\0b", "\x00", "x" * 65, "a\u200bb", "\ud800",
     "a\nb", "％\x1b[31m"],
    ids=repr,
)  # fmt: skip
def test_error_gives_the_position_and_not_the_text(bad: str) -> None:
    """Empty items count, as a person counts the commas; what was sent is never echoed."""
    with pytest.raises(CommandError) as caught:
        parse_device_ids(["A,,B", f"C,{bad},D"], 10)
    assert caught.value.code == "invalid_device_id"
    assert "number 5 " in caught.value.message
    harmless = set("use 1 to 64 printable characters without + # * / \\ or a comma, and no ..")
    assert bad not in caught.value.message or set(bad) <= harmless
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "count, limit, passes", [(0, 1, True), (1, 1, True), (2, 1, False), (1000, 1000, True), (1001, 1000, False)]
)
def test_limit_holds_for_different_ids(count: int, limit: int, passes: bool) -> None:
    """Exactly the limit passes; repetitions and ``*`` are free."""
    texts = [",".join(f"d{number}" for number in range(count)), "d0,d0,*" if count else "*,*"]
    if passes:
        assert len(parse_device_ids(texts, limit)[0]) == count
    else:
        with pytest.raises(CommandError, match=f"at most {limit} device ids") as caught:
            parse_device_ids(texts, limit)
        assert caught.value.code == "too_many_device_ids"


# --- patterns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["*", "truck-*", "*-7", "a*b*c", "**", "A", "x" * 63 + "*"])
def test_patterns_are_ids_with_stars(text: str) -> None:
    """An id without a star is a pattern that covers itself."""
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text", ["", " *", "* ", "a/*", "+*", "#", "*,*", "a\\*", "..*", "e\u0301*", "x" * 64 + "*", "*\n"]
)
def test_pattern_is_held_to_the_rules_of_ids(text: str) -> None:
    """What could never match, or not be written in a list, is refused in tokens and groups files."""
    assert not is_pattern(text)


@pytest.mark.parametrize(
    "pattern, covered, others",
    [
        ("*", ["A", "*", "a b"], []),
        ("truck-*", ["truck-1", "truck-", "truck-*"], ["Truck-1", "truck", "xtruck-1"]),
        ("*-7", ["a-7", "-7"], ["-77", "7"]),
        ("a*a", ["aa", "aXa"], ["a", "ab"]),
        ("ab*ba", ["abba", "abXba"], ["aba", "ab"]),
        ("a.c*x*", ["a.cx", "a.cAxB"], ["abcx", "a.c"]),
        ("**", ["A"], []),
        ("[a]*[b]", ["[a]1[b]"], ["ab", "a1b"]),
        ("A", ["A"], ["AB", "", "a"]),
        ("A$*\\d*", [], ["A1"]),
    ],
)
def test_star_stands_for_any_run_of_characters(pattern: str, covered: list[str], others: list[str]) -> None:
    """Nothing else in a pattern is special, and case counts."""
    matches = pattern_matcher(pattern)
    assert all(matches(device_id) for device_id in covered)
    assert not any(matches(device_id) for device_id in others)


@given(st.text("ab*", min_size=1, max_size=10), st.text("ab", min_size=1, max_size=12))
def test_patterns_match_as_the_shell_would(pattern: str, device_id: str) -> None:
    """Against the standard library's matcher, where only stars are special."""
    assert bool(pattern_matcher(pattern)(device_id)) == fnmatch.fnmatchcase(device_id, pattern)


def test_hostile_pattern_costs_no_more_than_an_ordinary_one() -> None:
    """``*a*a*a…b`` against ``aaa…``: once exponential, years for 64 characters; here this line would never end."""
    for pattern in ("*a" * 31 + "*b", "a*" * 31 + "b", "*" + "a*" * 31):
        assert is_pattern(pattern)
        for _ in range(100):
            assert bool(pattern_matcher(pattern)("a" * 64)) is pattern.endswith("*")


# --- what a principal may see ---------------------------------------------------------------------------------


def test_allowed_holds_ids_and_patterns() -> None:
    """Each device by its id or by any pattern; an unknown one gets the answer of a forbidden one."""
    allowed = Allowed(["A", "truck-*", "*-7"])
    assert all(device_id in allowed for device_id in ("A", "truck-1", "x-7"))
    assert not any(device_id in allowed for device_id in ("B", "a", "truck", "x-8", "*", "truck*"))
    assert allowed.selectors() == {"A", "truck-*", "*-7"}


def test_allowed_to_see_nothing() -> None:
    """A token without devices: no device, no selector."""
    assert "A" not in Allowed([])
    assert Allowed([]).selectors() == frozenset()


def test_everything_swallows_the_rest() -> None:
    """So that all who may see everything have the same selection and are served together."""
    assert Allowed(["A", "*", "b*"]).selectors() == {EVERYTHING}
    assert "anything" in Allowed(["*"])


def test_group_is_referred_to_and_never_copied() -> None:
    """Ten thousand devices in a group cost one who may see them as much as ten do, and ``*`` means them too."""
    members = frozenset(f"device-{number}" for number in range(10_000)) | {"truck-*", "*-n", "x*y"}
    group = Allowed(members)
    tracemalloc.start()
    try:
        holders = [Allowed([f"own-{number}"], [group]) for number in range(100)]
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()
    for device_id in ("own-7", "device-9999", "truck-1", "a-n", "x-y"):
        assert device_id in holders[7]
    assert not any(device_id in holders[7] for device_id in ("own-8", "device-10000", "truck", "y-x"))
    assert holders[7].selectors() == members | {"own-7"}


def test_group_of_everything_swallows_the_rest() -> None:
    """The same selection for all who may see everything, however they came to it."""
    assert Allowed(["A"], [Allowed(["B"]), Allowed(["C", "*"])]).selectors() == {EVERYTHING}
