"""The reasons why a stream ends."""

from __future__ import annotations

import pytest
from websockets.frames import EXTERNAL_CLOSE_CODES, Close

from bridge.protocol.closing import CloseReason


@pytest.mark.parametrize("reason", [reason for reason in CloseReason if reason is not CloseReason.LOST])
def test_close_frame_is_one_that_a_stranger_takes(reason: CloseReason) -> None:
    """A registered code that may stand in a frame, and at most 123 bytes of text (RFC 6455 sections 5.5.1 and 7.4)."""
    assert reason.code in EXTERNAL_CLOSE_CODES
    assert len(reason.text.encode()) <= 123
    assert Close.parse(Close(reason.code, reason.text).serialize()) == Close(reason.code, reason.text)


def test_no_two_reasons_are_one() -> None:
    """In an Enum two members with equal values would silently become one."""
    assert len({reason.text for reason in CloseReason}) == len(CloseReason) == len(CloseReason.__members__)


@pytest.mark.parametrize(
    "code, advice",
    [
        (1001, {"yes, with jitter"}),
        (1008, {"no"}),
        (1009, {"no"}),
        (1011, {"yes, with back-off"}),
        (1013, {"yes, later"}),
    ],
)
def test_one_code_has_one_advice(code: int, advice: set[str]) -> None:
    """A browser sees the code only, so the same code must mean the same for reconnecting."""
    assert {reason.reconnect for reason in CloseReason if reason.code == code} == advice


def test_lost_connection_is_never_announced() -> None:
    """1006 stands for a connection that ended without a frame and must not be sent (RFC 6455 section 7.4.1)."""
    assert CloseReason.LOST.code == 1006
