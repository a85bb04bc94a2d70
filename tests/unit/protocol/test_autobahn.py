"""The Autobahn cases, against an echo endpoint on the Receiver."""

from __future__ import annotations

import pytest
from websockets.frames import Close, Opcode

from tests.autobahn import CASES, MAX_MESSAGE_BYTES, Case
from tests.echo import Echo
from tests.fakes import frames_in


@pytest.mark.parametrize("max_frames", [1, 1000])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_echo_answers_as_the_standard_says(case: Case, max_frames: int) -> None:
    """The same messages and pongs in the same order, then one Close frame with the right code, then nothing."""
    echo = Echo(MAX_MESSAGE_BYTES, max_frames)
    for chunk in case.chunks():
        echo.feed(chunk)
    *answers, last = frames_in(echo.sent)
    assert [(frame.opcode, bytes(frame.data)) for frame in answers] == list(case.answers)
    assert (last.opcode, Close.parse(bytes(last.data)).code) == (Opcode.CLOSE, case.code)


def test_table_has_every_section() -> None:
    """No case stands in it twice, and none of the sections is empty."""
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 180
    assert {name.replace(" ", ".").split(".")[0] for name in names} == {"1", "2", "3", "4", "5", "6", "7", "10"}
