"""Last-known messages: the newest fix and the newest other message of each device, bounded in devices and bytes."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.limits import FUTURE_SECONDS
from bridge.core.telemetry import Fix, Kind, Telemetry
from bridge.fanout.history import LastKnown
from tests.fakes import event, position

NOW = 1_900_000_000.0
"""By the wall clock."""
MONOTONIC = 3600.0


class Case:
    """Last-known values and the clocks by which they come."""

    def __init__(self, **bounds: int) -> None:
        self.history = LastKnown(**bounds)
        self.now = NOW
        self.monotonic = MONOTONIC
        self.sequence = 0

    def came(self, *messages: Telemetry) -> list[int]:
        """All at one time, one after the other; returns their numbers."""
        numbers = []
        for message in messages:
            self.sequence += 1
            numbers.append(self.history.remember(self.sequence, message, self.now, self.monotonic))
        return numbers

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.monotonic += seconds

    def known(self, device_id: str = "A") -> list[str]:
        """The payloads of what is known of one device, the oldest first."""
        return [one.message.payload.decode() for one in self.history.of(device_id)]


def fix(text: str, age: float | None = None, *, retained: bool = False) -> Telemetry:
    """A position of A, taken ``age`` seconds before NOW."""
    return Telemetry("A", text.encode(), retained, Fix(1.5, -70.25, None if age is None else NOW - age))


def test_newest_fix_and_newest_other_message_are_kept() -> None:
    """Each by itself, given back in the order in which they came, with the number and the time of each."""
    case = Case()
    assert case.came(position("A", "1"), event("B", "x")) == [1, 1]
    case.wait(1)
    assert case.came(event("A", "2"), position("A", "3")) == [2, 3]
    assert [(one.sequence, one.number, one.received_monotonic) for one in case.history.of("A")] == [
        (3, 2, MONOTONIC + 1), (4, 3, MONOTONIC + 1),
    ]  # fmt: skip
    assert (case.known(), case.known("C")) == (["2", "3"], [])
    assert list(case.history.device_ids()) == ["B", "A"]


# --- the fix guard ------------------------------------------------------------------------------------------------


def test_message_without_a_fix_never_takes_the_last_fix_away() -> None:
    """However many come."""
    case = Case()
    case.came(fix("here", 0), *(event("A", str(number)) for number in range(100)))
    assert case.known() == ["here", "99"]


def test_fix_that_is_older_never_replaces_the_known_one() -> None:
    """3,600 that a device had stored, between live ones: each counts as a message, none turns the last-known back."""
    case = Case()
    stored = [fix(f"stored {age}", age) for age in range(3600, 0, -1)]
    case.came(fix("live", 0))
    for number, message in enumerate(stored):
        case.came(message)
        if number % 100 == 0:
            case.wait(1.0)
            case.came(fix(f"live {case.now}", NOW - case.now))
        assert case.known()[-1].startswith("live")
    assert case.known() == [f"live {case.now}"]
    assert case.came(fix("next", NOW - case.now)) == [1 + 3600 + 36 + 1]


@pytest.mark.parametrize("age, replaces", [(10.0, True), (9.9, True), (10.1, False), (None, True)])
def test_fix_replaces_one_that_was_not_taken_later(age: float | None, replaces: bool) -> None:
    """Of the same moment the one that came last; one without a time is as new as its receipt."""
    case = Case()
    case.came(fix("first", 10.0), fix("second", age))
    assert case.known() == ["second" if replaces else "first"]


def test_fix_without_a_time_is_as_old_as_its_receipt() -> None:
    """One that was taken before that does not replace it, one that was taken after does."""
    case = Case()
    case.came(fix("undated"))
    case.wait(10)
    case.came(fix("before", 1.0))
    assert case.known() == ["undated"]
    case.came(fix("after", -1.0))
    assert case.known() == ["after"]


def test_clock_that_is_ahead_cannot_pin_its_device() -> None:
    """A fix was never taken after it came, so the next one that comes with the right time is newer."""
    case = Case()
    case.came(fix("ahead", -FUTURE_SECONDS))
    case.wait(1)
    case.came(fix("right", -1.0))
    assert case.known() == ["right"]


def test_our_own_clock_set_back_does_not_pin_a_device() -> None:
    """What came when it was wrong cannot have been taken after now."""
    case = Case()
    case.came(fix("before", 0))
    case.now -= 3600
    case.came(fix("dated", 3599.0))
    assert case.known() == ["dated"]
    case.came(fix("older", 3601.0))
    assert case.known() == ["dated"]
    case.came(fix("undated"))
    assert case.known() == ["undated"]


def test_fix_from_far_ahead_never_takes_the_place_of_one_that_is_not() -> None:
    """It is kept where nothing better is known, and gives way to whatever is better."""
    case = Case()
    case.came(fix("far", -FUTURE_SECONDS - 0.001))
    assert case.known() == ["far"]
    case.wait(1)
    case.came(fix("farther", -FUTURE_SECONDS - 100))
    assert case.known() == ["farther"]
    case.came(fix("stored", 3600))
    assert case.known() == ["stored"]
    case.came(fix("far", -FUTURE_SECONDS - 100))
    assert case.known() == ["stored"]


@pytest.mark.parametrize(
    "age, replaces",
    [(None, False), (11.0, False), (10.0, False), (9.9, True)],
    ids=["undated", "older", "same", "newer"],
)
def test_retained_copy_must_be_newer_than_what_came_live(age: float | None, replaces: bool) -> None:
    """The MQTT broker sends it again after every reconnect."""
    case = Case()
    case.came(fix("live", 10.0), fix("copy", age, retained=True))
    assert case.known() == ["copy" if replaces else "live"]


def test_retained_copy_is_kept_until_something_live_comes() -> None:
    """When it was taken is not known without a time: a fix that was stored an hour ago may well be newer."""
    case = Case()
    case.came(fix("copy", retained=True), fix("again", retained=True))
    assert case.known() == ["again"]
    case.came(fix("stored", 3600.0))
    assert case.known() == ["stored"]


# --- numbers --------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from([0.0, 0.0, 1e-6, 0.5])), max_size=60))
def test_number_of_a_device_never_comes_twice(steps: list[tuple[str, float]]) -> None:
    """Also when it was forgotten meanwhile, however fast messages come."""
    case = Case(max_devices=2)
    last: dict[str, int] = {}
    for name, seconds in steps:
        case.wait(seconds)
        (number,) = case.came(event(name))
        assert number > last.get(name, 0)
        last[name] = number


def test_numbers_begin_at_the_time_of_the_run_once_a_device_was_forgotten() -> None:
    """In microseconds: no device sends more often, so what a device gets tells nothing of the others."""
    case = Case(max_devices=1)
    assert case.came(event("A"), event("A")) == [1, 2]
    case.wait(2.5)
    assert case.came(event("B"), event("B")) == [1, 2]
    assert case.came(event("A"), event("A")) == [2_500_001, 2_500_002]


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_device_that_was_silent_longest_is_forgotten_first() -> None:
    """A device that speaks again moves to the end of the line."""
    case = Case(max_devices=2)
    case.came(*map(event, "ABAC"))
    assert list(case.history.device_ids()) == ["A", "C"]
    assert case.history.statistics().forgotten == 1


def test_stored_fix_is_a_sign_of_life() -> None:
    """It is not kept, but its device was heard last."""
    case = Case(max_devices=2)
    case.came(fix("live", 0), event("B"), fix("stored", 10), event("C"))
    assert (case.known(), case.known("B")) == (["live"], [])


def test_bound_in_bytes_holds() -> None:
    """Exactly the bound is kept; one byte more costs the device that was silent longest, with both its messages."""
    case = Case(max_bytes=10)
    case.came(event("A", "12"), position("A", "34"), event("B", "567890"))
    assert (case.history.statistics().devices, case.history.statistics().payload_bytes) == (2, 10)
    case.came(event("B", "5678901"))
    assert case.known() == []
    assert case.history.statistics().payload_bytes == 7


def test_one_device_above_the_bound_is_still_known() -> None:
    """Its own message is not refused: what is too large for that was refused by the decoder."""
    case = Case(max_bytes=1)
    case.came(event("A", "12345"))
    assert case.known() == ["12345"]


@given(
    st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from(Kind), st.integers(0, 9)), max_size=40),
    st.integers(1, 4),
    st.integers(5, 40),
)
def test_account_of_bytes_is_exact(steps: list[tuple[str, Kind, int]], max_devices: int, max_bytes: int) -> None:
    """After any sequence of messages: bounds kept, bytes as stored, the newest message always there."""
    case = Case(max_devices=max_devices, max_bytes=max_bytes)
    for name, kind, size in steps:
        case.came(position(name, "x" * size) if kind is Kind.POSITION else event(name, "x" * size))
        known = case.history.device_ids()
        stats = case.history.statistics()
        assert stats.devices == len(known) <= max_devices
        assert stats.payload_bytes == sum(len(text) for one in known for text in case.known(one))
        assert stats.payload_bytes <= max_bytes or len(known) == 1
        assert case.known(name)[-1] == "x" * size


def test_forgetting_takes_no_longer_the_more_is_known() -> None:
    """A stranger who invents device ids pushes one out with each: finding it must not cost a search through all."""

    def seconds(known: int) -> float:
        history = LastKnown(max_devices=known)
        messages = iter([event(f"d{number}") for number in range(4 * known + 5000)])
        for message in itertools.islice(messages, 4 * known):
            history.remember(1, message, NOW, MONOTONIC)
        began = time.process_time()
        for message in messages:
            history.remember(1, message, NOW, MONOTONIC)
        return time.process_time() - began

    assert min(seconds(16_000) for _ in range(3)) < 3 * min(seconds(1000) for _ in range(3))
