"""What ``watch`` makes of events and close codes, without a network or a terminal."""

from __future__ import annotations

import json
import random

import pytest

from bridge.cli.stream_client import stream_url
from bridge.cli.terminal import escape, one_line
from bridge.cli.watch_view import DEFAULT_HEARTBEAT_SECONDS, MAX_ROWS, Verdict, WatchState, columns_of, render, verdict
from bridge.core.backoff import BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS, full_jitter
from bridge.protocol.closing import CloseReason

SIZE = (100, 10)


def message(device_id: str, **payload: object) -> dict[str, object]:
    """A message event."""
    return {"event": "message", "device_id": device_id, "data": payload}


def screen(state: WatchState, now: float = 0.0, size: tuple[int, int] = SIZE, *, color: bool = False) -> list[str]:
    """The lines that a terminal would get."""
    return render(state, now, "bridge:8000", size, color=color)


# --- back-off ----------------------------------------------------------------------------------------


def test_waits_grow_from_half_a_second_to_thirty() -> None:
    """The upper bounds double until the cap, also after months of failures."""
    bounds = [full_jitter(attempt, lambda low, high: high) for attempt in (0, 1, 2, 6, 100_000)]
    assert bounds == [BACKOFF_BASE_SECONDS, 1.0, 2.0, BACKOFF_CAP_SECONDS, BACKOFF_CAP_SECONDS]


def test_clients_that_lost_the_same_server_spread_out() -> None:
    """A thousand waits fill the whole interval from nothing on."""
    waits = [full_jitter(10, random.Random(1).uniform), *(full_jitter(10, random.uniform) for _ in range(1_000))]
    assert min(waits) < 3.0
    assert max(waits) > 27.0


@pytest.mark.parametrize("reason", CloseReason)
def test_close_codes_are_obeyed_as_the_table_says(reason: CloseReason) -> None:
    """Each reason of the server leads to what its row advises."""
    expected = {
        "no": Verdict.STOP,
        "yes, later": Verdict.LATER,
        "with a new token": Verdict.STOP,
    }.get(reason.reconnect, Verdict.AGAIN)
    assert verdict(reason.code, expired=reason is CloseReason.EXPIRED) is expected


def test_a_connection_without_a_close_frame_is_tried_again() -> None:
    """A broken cable says nothing."""
    assert verdict(None, expired=False) is Verdict.AGAIN


# --- escaping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, shown",
    [
        ("truck-001", "truck-001"),
        ("Ålesund 北", "Ålesund 北"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\r\nb\x9b2J", r"a\r\nb\x9b2J"),
        ("left\u202eright", r"left\u202eright"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_made_visible(text: str, shown: str) -> None:
    """Nothing that a device says can move the cursor, ring the bell or turn text round."""
    assert escape(text) == shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    "text",
    ['{"a":1.10}', '{\r\n\t"a": "\x7f\x9b31m"}', '{"a":"\U000e0001 \u2028"}', '{"a":12345678901234567890123,"a":2}'],
)
def test_json_lines_keep_every_value(text: str) -> None:
    """One printable line that means the same."""
    line = one_line(text)
    assert line.isprintable()
    assert json.loads(line) == json.loads(text)


def test_json_lines_are_left_alone_where_they_are_safe() -> None:
    """Byte for byte: numbers keep their digits, double keys stay."""
    assert one_line('{"a":1.10,"a":1e400}') == '{"a":1.10,"a":1e400}'


# --- the table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {"data": {"LAT": 1.5, "LON": 2.5, "SPEED": 45, "HEADING": 90}},
        {"lat": "1.5", "lon": "2.5", "vel": 45, "cog": 90},
        {"lat": 1.5, "lon": 2.5, "speed_kmh": 45, "heading_deg": 90},
        {"position.latitude": 1.5, "position.longitude": 2.5, "position.speed": 45, "position.direction": 90},
        {"VP": {"lat": 1.5, "long": 2.5, "spd": 45, "hdg": 90}},
    ],
)
def test_the_usual_names_of_position_are_found(payload: object) -> None:
    """The DEVICE_ID envelope, the normalised one and common trackers."""
    assert columns_of(payload) == {"lat": 1.5, "lon": 2.5, "speed": 45.0, "heading": 90.0}


@pytest.mark.parametrize("payload", [None, 7, "text", [], {"lat": None, "lon": True, "speed": "fast", "data": 10**400}])
def test_payloads_without_numbers_leave_the_cells_empty(payload: object) -> None:
    """Any JSON is a payload."""
    assert columns_of(payload) == {}


def test_huge_numbers_are_not_shown() -> None:
    """An integer beyond a float is no coordinate."""
    assert columns_of({"lat": 10**400, "lon": "1e999"}) == {}


def test_a_row_shows_the_newest_values_and_their_age() -> None:
    """Values that a later message does not repeat stay."""
    state = WatchState()
    state.take(message("truck-001", LAT=-33.4567, LON=-70.6789, SPEED=45, HEADING=271.6), now=100.0)
    state.take(message("truck-001", LAT=-33.5), now=105.0)
    line = screen(state, now=165.0)[3]
    assert line.split() == ["truck-001", "1m", "-33.50000", "-70.67890", "45.0", "272", "2"]


def test_a_last_known_value_is_not_shown_as_news() -> None:
    """Its age is unknown, and said to be."""
    state = WatchState()
    state.take({**message("A"), "replay": True}, now=0.0)
    assert screen(state)[3].split() == ["A", "replay", "-", "-", "-", "-", "1"]


def test_lines_never_exceed_the_window() -> None:
    """Neither in width, wide characters counted, nor in number; what does not fit is counted."""
    state = WatchState()
    for number in range(50):
        state.take(message(f"北京-{number:02d}-" + "x" * 80, LAT=1.0, LON=2.0), now=0.0)
    lines = screen(state, size=(60, 12))
    assert len(lines) == 12
    assert all(len(line) + line.count("北") + line.count("京") <= 60 for line in lines)
    assert lines[-1].startswith("… and 42 more")
    assert screen(state, size=(1, 1)) == ["…"]


def test_a_device_cannot_write_to_the_terminal() -> None:
    """Its id is escaped in the table too."""
    state = WatchState()
    state.take(message("A\x1b[2J\n"), now=0.0)
    assert all(line.isprintable() for line in screen(state))


def test_color_marks_silent_devices() -> None:
    """Dim after half a minute; without colour there is no escape code at all."""
    state = WatchState()
    state.take(message("A"), now=0.0)
    assert screen(state, now=10.0, color=True)[3].startswith("A")
    assert screen(state, now=60.0, color=True)[3].startswith("\x1b[2mA")


def test_memory_is_bounded_and_the_silent_go_first() -> None:
    """An endless parade of ids does not fill the memory."""
    state = WatchState()
    for number in range(MAX_ROWS):
        state.take(message(str(number)), now=0.0)
    state.take(message("0"), now=1.0)
    state.take(message("new"), now=1.0)
    assert len(state.rows) == MAX_ROWS
    assert "0" in state.rows
    assert "1" not in state.rows


# --- events ------------------------------------------------------------------------------------------


def test_loss_is_counted_and_told() -> None:
    """Gaps add up over connections."""
    state = WatchState()
    state.take({"event": "gap", "data": {"count": 5, "dropped": 5, "conflated": 0}}, now=0.0)
    state.begin_connection()
    line = state.take({"event": "gap", "data": {"count": 2, "dropped": 0, "conflated": 2}}, now=0.0)
    assert line == "gap: 2 messages skipped (0 dropped, 2 replaced by newer ones)"
    assert "7 skipped" in screen(state)[0]


def test_an_absent_mqtt_broker_is_on_the_screen() -> None:
    """Silence then has a reason."""
    state = WatchState()
    state.take({"event": "upstream", "data": {"state": "down"}}, now=0.0)
    assert "MQTT DOWN" in screen(state)[0]
    state.take({"event": "upstream", "data": {"state": "up"}}, now=0.0)
    assert "MQTT up" in screen(state)[0]


def test_refused_devices_are_named() -> None:
    """One learns why nothing comes."""
    data = {"device_ids": ["A"], "refused": ["B", "C\x07"]}
    assert WatchState().take({"event": "subscribed", "ref": 1, "data": data}, now=0.0) == r"refused: B, C\x07"


def test_the_heartbeat_comes_from_hello() -> None:
    """And nonsense there does not make the watchdog bark."""
    state = WatchState()
    state.take({"event": "hello", "data": {"heartbeat_seconds": 5}}, now=0.0)
    assert state.heartbeat_seconds == 5.0
    state.take({"event": "hello", "data": {"heartbeat_seconds": -1}}, now=0.0)
    assert state.heartbeat_seconds == DEFAULT_HEARTBEAT_SECONDS


@pytest.mark.parametrize("event", [{}, {"event": "gap"}, {"event": "hello", "data": 3}, {"event": "later", "data": {}}])
def test_events_that_are_not_known_are_ignored(event: dict[str, object]) -> None:
    """A newer server may say more."""
    assert WatchState().take(event, now=0.0) == ""


# --- the address -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base, devices, groups, url",
    [
        ("ws://127.0.0.1:8000", "", "", "ws://127.0.0.1:8000/api/v1/stream?device_ids=*"),
        ("bridge:8000", "A, B,", "", "ws://bridge:8000/api/v1/stream?device_ids=A,B"),
        ("https://h/fleet/", "A&B=+", "", "wss://h/fleet/api/v1/stream?device_ids=A%26B%3D%2B"),
        ("wss://h/api/v1/stream", "", "north,south", "wss://h/api/v1/stream?groups=north,south"),
        ("ws://[::1]:8000", "A", "g", "ws://[::1]:8000/api/v1/stream?device_ids=A&groups=g"),
    ],
)
def test_the_stream_stands_under_the_servers_address(base: str, devices: str, groups: str, url: str) -> None:
    """Web addresses work too, a path before it is kept, ids are percent-encoded."""
    assert str(stream_url(base, devices, groups)) == url


@pytest.mark.parametrize("base", ["ftp://h", "ws://h:99999", "ws://[h", "ws://u:p@h", "ws://h/?token=t", "ws://h#t"])
def test_addresses_that_cannot_be_are_refused_without_an_echo(base: str) -> None:
    """Something secret may stand in them."""
    with pytest.raises(ValueError, match="URL") as caught:
        stream_url(base, "")
    assert base not in str(caught.value)


def test_more_devices_than_a_url_holds_are_refused() -> None:
    """Better here than as a 400 from some proxy."""
    with pytest.raises(ValueError, match="too many"):
        stream_url("ws://h", ",".join(f"device-{number}" for number in range(1_000)))
