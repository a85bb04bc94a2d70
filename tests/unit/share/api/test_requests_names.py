"""Names, changes, and whatever else may come in an operator's body."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from share.api.requests import parse_changes, parse_draft
from share.model.draft import UNSET, InvalidRequestError
from tests.stored import NOW
from tests.unit.share.api.test_requests import BAD, GOAL, MONTH, changes, parse, refused, share_of

T = TypeVar("T")

# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["truck-7", "TRUCK-7", "my truck-7!", "(truck-7)", "\uff54\uff52\uff55\uff43\uff4b-7", "a/truck-7"]
)
def test_device_id_never_reaches_the_public(text: str) -> None:
    """Neither in an alias, nor in the label, nor in the destination's name; whole words, whatever the case or width."""
    ids = ["truck-7", "B"]
    assert "`aliases`" in refused(device_ids=ids, aliases={"B": text})
    assert "`label`" in refused(device_ids=ids, label=text)
    assert "`destination.name`" in refused(device_ids=ids, destination={**GOAL, "name": text})
    with pytest.raises(InvalidRequestError):
        changes(share_of(device_ids=ids), label=text)
    with pytest.raises(InvalidRequestError):
        changes(share_of(device_ids=ids), aliases={"B": text})


def test_part_of_a_word_is_no_device_id() -> None:
    """A device called A does not forbid every text with an a."""
    draft, _ = parse(device_ids=["A", "truck-7"], label="A1: truck-77", aliases={"A": "Banana"})
    assert draft.label == "A1: truck-77"


def test_aliases_are_unique_whatever_their_case() -> None:
    """Two vans of one name could not be told apart."""
    assert "unique" in refused(device_ids=["a", "b"], aliases={"a": "Van", "b": "VAN"})
    assert "unique" in refused(device_ids=["a", "b"], aliases={"a": "Straße", "b": "STRASSE"})


def test_default_aliases_are_neutral_unique_and_tell_nothing() -> None:
    """Also where the devices, or given aliases, are called like them."""
    assert parse(device_ids=["x", "y"])[0].grant.aliases == (("x", "Device 1"), ("y", "Device 2"))
    assert parse(device_ids=["2", "1"])[0].grant.aliases == (("2", "Device 3"), ("1", "Device 4"))
    assert parse(device_ids=["device"])[0].grant.aliases == (("device", "Device1"),)
    taken = parse(device_ids=["x", "y", "z"], aliases={"y": "device 1"})[0].grant.aliases
    assert taken == (("x", "Device 2"), ("y", "device 1"), ("z", "Device 3"))


@given(st.lists(st.sampled_from(["Device", "device1", "DEVICE2", *map(str, range(1, 25)), "A"]), min_size=1,
                max_size=20, unique=True))  # fmt: skip
def test_default_aliases_can_always_be_found(ids: list[str]) -> None:
    """Whatever the devices are called."""
    aliases = [alias for _, alias in parse(device_ids=ids)[0].grant.aliases]
    assert len({alias.casefold() for alias in aliases}) == len(ids)
    words = {word for alias in aliases for word in alias.casefold().split()}
    assert words.isdisjoint({device_id.casefold() for device_id in ids})


# --- changes ----------------------------------------------------------------------------------------------


def test_absent_and_null_are_two_things() -> None:
    """Absent leaves, null takes away."""
    share = replace(share_of(), password_hash="h", max_viewers=3)
    asked, password = changes(share, label="x")
    assert (asked.max_viewers, asked.password_hash, asked.ends_at, asked.label, password) == (
        UNSET,
        UNSET,
        UNSET,
        "x",
        None,
    )
    assert asked.applied(share) == replace(share, label="x")
    cleared, password = changes(share, max_viewers=None, password=None)
    assert password is None
    assert cleared.applied(share) == replace(share, max_viewers=None, password_hash=None)
    asked, password = changes(share, password="new")
    assert (asked.password_hash, password) == (UNSET, "new")
    assert "new" not in repr(asked)


def test_end_moves_within_the_maximum_of_the_whole_life() -> None:
    """From now, but no longer after the start than a new share may last."""
    share = share_of()
    later = NOW + 1000
    assert changes(share, later, expires_in=60)[0].ends_at == later + 60
    assert changes(share, later, expires_in=MONTH - 1000)[0].ends_at == NOW + MONTH
    for fields in ({"expires_in": MONTH - 999}, {"expires_at": "2030-03-17T17:50:00Z"}, {"expires_in": 0}):
        with pytest.raises(InvalidRequestError):
            changes(share, later, **fields)


@pytest.mark.parametrize(
    "fields",
    [{}, {"label": None}, {"aliases": None}, {"expires_in": None}, {"expires_at": None}, {"aliases": {"B": "x"}},
     {"device_ids": ["B"]}, {"trail": 5}, {"starts_at": "2030-03-17T18:00:00Z"}, {"owner": "eve"}, {"id": "x"},
     {"expires_in": 5, "expires_at": "2030-03-17T18:00:00Z"}, {"precision_m": 0}],
)  # fmt: skip
def test_what_cannot_be_changed_is_refused(fields: dict[str, Any]) -> None:
    """What viewers may see was decided when the share was made."""
    with pytest.raises(InvalidRequestError):
        changes(share_of(), **fields)


# --- whatever comes ---------------------------------------------------------------------------------------

texts = st.text(max_size=12) | st.sampled_from(["A", "B", "2030-03-17T19:00:00Z", "\ud800"])
numbers = st.floats() | st.integers() | st.sampled_from([0, 1, 60, 10**400, -(10**400)])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*(name for name in BAD if "." not in name), "expires_at", "lat", "lon"])
plausible = st.fixed_dictionaries(
    {"device_ids": st.just(["A", "B"]), "expires_in": st.just(60)},
    optional={
        "label": texts, "aliases": st.dictionaries(st.sampled_from("AB"), texts), "trail": numbers,
        "destination": st.dictionaries(st.sampled_from(["lat", "lon", "name", "radius_m"]), values), "password": texts,
    },
)  # fmt: skip


@given(st.dictionaries(names | texts, values, max_size=6) | plausible | values)
def test_any_json_is_a_draft_or_a_refusal_in_words(value: Any) -> None:
    """Never another error; and what is taken obeys every rule again."""
    body = json.dumps(value).encode()
    taken = outcome(lambda: parse_draft(body, NOW, MONTH))
    if taken is not None:
        draft, password = taken
        assert NOW < draft.ends_at <= draft.starts_at + MONTH
        assert 1 <= len(draft.grant.aliases) <= 20
        assert draft.label.isprintable()
        assert password is None or password.encode()
    share = share_of(device_ids=["A", "B"])
    asked = outcome(lambda: parse_changes(body, share, NOW, MONTH))
    if asked is not None:
        assert len(asked[0].applied(share).grant.aliases) == 2


def outcome(parse: Callable[[], T]) -> T | None:
    """What ``parse`` gives; None when it refuses in words that can be shown."""
    try:
        return parse()
    except InvalidRequestError as error:
        shown = error.message
    assert 0 < len(shown) < 400
    assert shown.isprintable()
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_draft_or_a_refusal_in_words(body: bytes) -> None:
    """Whatever a client sends."""
    with pytest.raises(InvalidRequestError):
        parse_draft(body, NOW, MONTH)
