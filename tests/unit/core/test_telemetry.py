"""One message: its kind follows from its fix, and its position is made once."""

from __future__ import annotations

import pytest

from bridge.core.telemetry import Fix, Kind, Position, Telemetry

FIX = Fix(1.5, -70.25, 100.0)


class Details:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, Fix]] = []

    def position(self, payload: bytes, fix: Fix) -> Position:
        self.asked.append((payload, fix))
        return Position(fix.lat, fix.lon, 50.0, time=fix.time)


@pytest.mark.parametrize("fix, fallback, kind", [(FIX, None, Kind.POSITION), (None, FIX, Kind.EVENT)])
def test_position_is_made_when_it_is_asked_for_and_then_kept(fix: Fix | None, fallback: Fix | None, kind: Kind) -> None:
    """Most messages are never asked; of those that are, many ask."""
    details = Details()
    message = Telemetry("A", b"{}", fix=fix, fallback=fallback, details=details)
    assert (message.kind, details.asked) == (kind, [])
    assert message.position == Position(1.5, -70.25, 50.0, time=100.0)
    assert message.position is message.position
    assert details.asked == [(b"{}", FIX)]


def test_message_without_a_place_has_no_position() -> None:
    """Whatever it says beside that."""
    message = Telemetry("A", b'{"battery":3}')
    assert (message.kind, message.fix, message.position) == (Kind.EVENT, None, None)


def test_fix_alone_is_a_position() -> None:
    """Where nothing more is known of it."""
    assert Telemetry("A", b"{}", fix=FIX).position == Position(1.5, -70.25, time=100.0)


@pytest.mark.parametrize("time, taken_at", [(99.0, 99.0), (100.0, 100.0), (101.0, 100.0), (None, 100.0)])
def test_fix_was_never_taken_after_it_was_received(time: float | None, taken_at: float) -> None:
    """A clock that is ahead is not believed; a fix without a time counts as of its receipt."""
    assert Fix(1.0, 2.0, time).taken_at(100.0) == taken_at
