"""Where device ids are found: JSON pointers (RFC 6901) and topics."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import PayloadCause, PayloadError
from bridge.ingest.decoding.pointer import MISSING, find, parse_pointer
from bridge.ingest.decoding.topic import MAX_TOPIC_BYTES, TopicRule

# RFC 6901 section 5, but for the pointer to the whole document.
DOCUMENT: dict[str, Any] = {
    "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8,
}  # fmt: skip


# --- pointers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pointer, value",
    [("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/foo/1", "baz"), ("/", 0), ("/a~1b", 1), ("/c%d", 2),
     ("/e^f", 3), ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8)],
)  # fmt: skip
def test_examples_of_rfc_6901_are_found(pointer: str, value: object) -> None:
    """Section 5 of the standard, line by line."""
    assert find(DOCUMENT, parse_pointer(pointer)) == value


def test_escapes_are_undone_once() -> None:
    """``~01`` is the text ``~1`` and not a slash (RFC 6901 section 4)."""
    assert parse_pointer("/~01/~10/~0~1") == ("~1", "/0", "~/")


@pytest.mark.parametrize("text", ["", "foo", "#/foo", "/a~", "/a~2", "/~~01", "/~0~", "/a/~x/b", " /a"])
def test_text_that_is_no_pointer_is_refused(text: str) -> None:
    """At start, with the text and an example, and never at the first message."""
    with pytest.raises(ValueError, match="is not a JSON pointer"):
        parse_pointer(text)


@pytest.mark.parametrize(
    "token", ["2", "-1", "-", "00", "01", "1e0", "+1", " 1", "1_0", "\u0661", "\u00b2", "9" * 5000]
)
def test_only_a_plain_index_leads_into_a_list(token: str) -> None:
    """RFC 6901 section 4: digits without a leading zero; an index past the end finds nothing."""
    assert find({"foo": [10, 20]}, ("foo", token)) is MISSING


@pytest.mark.parametrize("document", [None, True, 1, 1.5, "text", [], {}], ids=repr)
def test_pointer_into_nothing_finds_nothing(document: object) -> None:
    """Scalars, empty lists and empty objects: missing, which is not the same as null."""
    assert find(document, ("a", "0")) is MISSING
    assert find({"a": None}, ("a",)) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.data())
def test_every_value_has_a_pointer_that_finds_it(document: object, data: st.DataObject) -> None:
    """Walk anywhere; the way written down as a pointer leads to the same value."""
    text, at = "", document
    while isinstance(at, dict | list) and at and data.draw(st.booleans() if text else st.just(True)):
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else list(range(len(at)))))
        text += "/" + str(key).replace("~", "~0").replace("/", "~1")
        at = at[key]
    if text:
        assert find(document, parse_pointer(text)) is at


# --- topics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern, topic, device_id",
    [
        ("fleet/{device_id}/position", "fleet/A/position", "A"),
        ("fleet/{device_id}/position", "fleet/A B/position", "A B"),
        ("fleet/{device_id}/position", "fleet/A/B/position", None),
        ("fleet/{device_id}/position", "fleet//position", None),
        ("fleet/{device_id}/position", "/fleet/A/position", None),
        ("fleet/{device_id}/position", "fleet/A/positions", None),
        ("fleet/{device_id}", "fleet/A\n", "A\n"),
        ("{device_id}", "A", "A"),
        ("{device_id}/#", "A", "A"),
        ("/hfp/+/{device_id}/#", "/hfp/v2/A/b/c", "A"),
        ("fleet/{device_id}/#", "fleet/A", "A"),  # MQTT 5.0 section 4.7.1.2: the parent level too
        ("fleet/{device_id}/#", "fleet/A/", "A"),
        ("fleet/{device_id}/#", "fleet/A/b/c", "A"),
        ("fleet/{device_id}/#", "fleets/A", None),
        ("+/{device_id}/+", "/A/", "A"),  # + fits an empty level
        ("+/{device_id}/+", "x/A", None),
        ("+/{device_id}/+", "x/A/y/z", None),
        ("tele/tasmota_{device_id}/SENSOR", "tele/tasmota_7F/SENSOR", "7F"),
        ("tele/{device_id}-gps/x", "tele/a-gps-gps/x", "a-gps"),
        ("tele/{device_id}-gps/x", "tele/-gps/x", None),
        ("a.b/{device_id}", "axb/1", None),
        ("a(b/{device_id}", "a(b/1", "1"),
        ("vessels-v2/{device_id}/location", "vessels-v2/230123456/location", "230123456"),
    ],
)
def test_pattern_reads_the_device_id(pattern: str, topic: str, device_id: str | None) -> None:
    """Wildcards as in topic filters; everything else stands for itself."""
    assert TopicRule(pattern).device_id(topic.encode()) == device_id


@pytest.mark.parametrize(
    "pattern",
    ["fleet", "fleet/#", "{device}", "{device_id}/{device_id}", "{device_id}{device_id}", "fleet/#/{device_id}",
     "fleet/a+/{device_id}", "{device_id}+", "{device_id}#", "{device_id}/a#"],
)  # fmt: skip
def test_pattern_that_cannot_be_read_is_refused(pattern: str) -> None:
    """At start, with the pattern and what to write instead."""
    with pytest.raises(ValueError, match="must") as caught:
        TopicRule(pattern)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("pattern", ["", "{device_id}/#"])
@pytest.mark.parametrize(
    "topic",
    [b"", b"a/\xff", b"a/\xed\xa0\x80", b"a\0b", b"a/+/b", b"a/#", b"a+b", b"x" * (MAX_TOPIC_BYTES + 1)],
    ids=lambda topic: repr(topic[:12]),
)
def test_topic_that_mqtt_forbids_is_a_bad_topic(pattern: str, topic: bytes) -> None:
    """Not UTF-8, NUL, wildcards, empty, too long: also where no id is looked for, and every time."""
    rule = TopicRule(pattern)
    for _ in range(2):
        with pytest.raises(PayloadError) as caught:
            rule.device_id(topic)
        assert caught.value.cause is PayloadCause.BAD_TOPIC


def test_longest_topic_and_any_script_are_taken() -> None:
    """1,024 bytes, spaces, accents: all that MQTT allows, ``$SYS`` included."""
    rule = TopicRule("+/{device_id}/#")
    assert rule.device_id("Matinkylä (M)/ä/60;24".encode()) == "ä"
    assert rule.device_id(b"$SYS/a/" + b"x" * (MAX_TOPIC_BYTES - 7)) == "a"


def test_empty_pattern_finds_nothing() -> None:
    """The default: the payload names the device."""
    assert TopicRule("").device_id(b"fleet/A/position") is None
