"""What one client may send in a second: frames and bytes, and for how long more than that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bridge.core.limits import READ_SECONDS
from bridge.stream.read_budget import ReadBudget

FRAMES, BYTES = 10, 1000


def budget(now: float = 0.0) -> ReadBudget:
    """A budget whose first second begins at ``now``."""
    made = ReadBudget(FRAMES, BYTES)
    made.renew(now)
    return made


def spend(made: ReadBudget, frames: int = 0, size: int = 0) -> None:
    """The client has sent so much."""
    made.frames -= frames
    made.received(size)


@pytest.mark.parametrize(
    "frames, size, spent",
    [
        (0, 0, False),
        (FRAMES - 1, BYTES - 1, False),
        (FRAMES, 0, True),
        (FRAMES + 1, 0, True),
        (0, BYTES, True),
        (0, 16 * BYTES, True),
    ],
)
def test_either_of_the_two_spends_it(frames: int, size: int, spent: bool) -> None:
    """A thousand empty frames cost as a few large ones do: whichever is reached first."""
    made = budget()
    spend(made, frames, size)
    assert made.spent is spent


def test_bytes_are_counted_as_they_come() -> None:
    """In however many reads."""
    made = budget()
    for _ in range(BYTES - 1):
        made.received(1)
    assert made.spent is False
    made.received(1)
    assert made.spent is True


def test_second_is_renewed_when_it_has_passed_and_not_before() -> None:
    """What is not used is not saved up: the next second brings as much as the one before."""
    made = budget(100.0)
    assert made.ends_at == 101.0
    spend(made, FRAMES, BYTES)
    made.renew(100.999)
    assert made.spent is True
    made.renew(101.0)
    assert (made.spent, made.frames, made.ends_at) == (False, FRAMES, 102.0)
    made.renew(250.0)
    assert (made.frames, made.ends_at) == (FRAMES, 251.0)


def overs(seconds: Sequence[bool], *, start: float = 0.0, late: float = 0.0) -> list[bool]:
    """What ``over`` answers in each second that is overspent; ``late`` is by how much the loop is each time."""
    made = budget(start)
    answers = []
    for is_over in seconds:
        if is_over:
            spend(made, FRAMES)
            answers.append(made.over())
        made.renew(made.ends_at + late)
    return answers


def test_three_seconds_in_a_row_are_too_many() -> None:
    """The third is; the two before it only cost the rest of their second."""
    assert overs([True] * READ_SECONDS) == [False] * (READ_SECONDS - 1) + [True]


@pytest.mark.parametrize("late", [0.0, 0.2, 0.999])
def test_loop_that_is_late_does_not_break_the_row(late: float) -> None:
    """By less than a second: the client had no time to be silent in."""
    assert overs([True] * READ_SECONDS, late=late)[-1] is True


@pytest.mark.parametrize("quiet", [0, 1, 2])
def test_second_without_breaks_the_row(quiet: int) -> None:
    """A burst now and then is no flood, however often it comes."""
    row = [second != quiet for second in range(READ_SECONDS)]
    assert True not in overs(row * 20)


def test_silent_second_breaks_the_row() -> None:
    """Also when nothing looked at the budget in it: it is as long ago as it is."""
    made = budget(10.0)
    for _ in range(READ_SECONDS * 2):
        spend(made, size=BYTES)
        assert made.over() is False
        made.renew(made.ends_at + 1.0)


def test_row_begins_anew_after_a_break() -> None:
    """Three more are too many again."""
    assert overs([True, True, False, True, True, True]) == [False, False, False, False, True]


def test_bytes_and_frames_make_one_row() -> None:
    """A client that floods first in the one and then in the other floods."""
    made = budget()
    for second in range(READ_SECONDS):
        spend(made, *((FRAMES, 0) if second % 2 else (0, BYTES)))
        assert made.over() is (second == READ_SECONDS - 1)
        made.renew(made.ends_at)
