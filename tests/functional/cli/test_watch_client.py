"""``telemetry-bridge watch`` against a server that plays by script."""

from __future__ import annotations

from collections.abc import Mapping
from socket import SHUT_RDWR
from typing import Any

import pytest

from bridge.cli.stream_client import Watch, WatchError, stream_url
from bridge.cli.watch_view import WatchState
from tests.functional.cli.fake_bridge import Act, FakeBridge, Socket, event, hello, telemetry, until_closed

POSITION = {"timestamp": "2024-12-11T10:30:00Z", "data": {"DEVICE_ID": "A", "LAT": -33.4, "LON": -70.6, "SPEED": 45}}
SECRET = "v4.local.secret"


class Recorder:
    """An output that remembers."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.lines: list[str] = []

    def event(self, raw: str, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    def news(self, line: str) -> None:
        self.lines.append(line)


def at_once(_attempt: int) -> float:
    """No wait before the next connection."""
    return 0.0


def new_watch(bridge: FakeBridge, *, count: int = 1, devices: str = "A", token: str = SECRET) -> tuple[Watch, Recorder]:
    """A watch of ``bridge`` and what it will show."""
    output = Recorder()
    return Watch(stream_url(bridge.url, devices), lambda: token, WatchState(), output, count, at_once), output


async def one_message(socket: Socket) -> None:
    """The act of a healthy server with one device."""
    await hello(socket)
    await telemetry(socket, "A", POSITION)
    await until_closed(socket)


def closing(code: int, *events: tuple[str, object]) -> Act:
    """The act of a server that says some events and closes."""

    async def act(socket: Socket) -> None:
        for kind, data in events:
            await event(socket, kind, data)
        await socket.close(code=code, message=b"so it is")

    return act


async def test_the_token_travels_in_a_header_and_the_devices_in_the_url() -> None:
    """The secret never stands in a URL; ids are percent-encoded."""
    async with FakeBridge(one_message) as bridge:
        watch, _ = new_watch(bridge, devices="A,Ä b")
        await watch.run()
    (request,) = bridge.requests
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert request.raw_path == "/api/v1/stream?device_ids=A,%C3%84%20b"


@pytest.mark.parametrize("code", [1001, 1011, 1013])
async def test_the_client_comes_back_after_codes_that_allow_it(code: int) -> None:
    """Draining, a bug or being too slow ends the connection, not the watch."""
    async with FakeBridge(closing(code), one_message) as bridge:
        watch, output = new_watch(bridge)
        await watch.run()
    assert len(bridge.requests) == 2
    assert any("reconnecting" in line for line in output.lines)


async def test_the_client_comes_back_after_a_connection_that_broke() -> None:
    """No Close frame at all: a cable, a crash."""

    async def abort(socket: Socket) -> None:
        await hello(socket)
        socket.get_extra_info("socket").shutdown(SHUT_RDWR)

    async with FakeBridge(abort, abort, one_message) as bridge:
        watch, _ = new_watch(bridge)
        await watch.run()
    assert len(bridge.requests) == 3


async def test_a_server_that_fell_silent_is_left() -> None:
    """Nothing for 2.5 heartbeats means dead, whatever TCP says."""

    async def silent(socket: Socket) -> None:
        await hello(socket, heartbeat_seconds=0.05)
        await until_closed(socket)

    async with FakeBridge(silent, one_message) as bridge:
        watch, output = new_watch(bridge)
        await watch.run()
    assert any("nothing came" in line for line in output.lines)


@pytest.mark.parametrize("code", [1008, 1009])
async def test_codes_that_forbid_it_end_the_watch_with_status_3(code: int) -> None:
    """No second attempt, and the server's own words."""
    error = ("error", {"code": "token_invalid", "message": "the token is not valid"})
    async with FakeBridge(closing(code, error)) as bridge:
        watch, _ = new_watch(bridge)
        with pytest.raises(WatchError, match="token_invalid: the token is not valid") as caught:
            await watch.run()
    assert caught.value.status == 3
    assert len(bridge.requests) == 1


async def test_expiry_ends_the_watch_and_asks_for_a_new_token() -> None:
    """1000 after ``expired`` is no goodbye."""
    async with FakeBridge(closing(1000, ("expired", {"expires_at": "2024-12-11T10:30:00Z"}))) as bridge:
        watch, _ = new_watch(bridge)
        with pytest.raises(WatchError, match="get a new token") as caught:
            await watch.run()
    assert caught.value.status == 3


async def test_expiry_with_a_renewed_token_goes_on() -> None:
    """A token file that was rewritten meanwhile is read again."""
    tokens = iter(["old", "new", "new"])
    expired = ("error", {"code": "token_expired", "message": "the token expired before the connection"})
    async with FakeBridge(closing(1008, expired), one_message) as bridge:
        watch = Watch(stream_url(bridge.url, "A"), lambda: next(tokens), WatchState(), Recorder(), 1, at_once)
        await watch.run()
    assert [request.headers["Authorization"] for request in bridge.requests] == ["Bearer old", "Bearer new"]


async def test_gaps_and_upstream_are_shown() -> None:
    """Loss is never silent."""

    async def act(socket: Socket) -> None:
        await hello(socket)
        await event(socket, "gap", {"count": 42, "dropped": 12, "conflated": 30, "devices": {"A": 42}})
        await event(socket, "upstream", {"state": "down"})
        await one_message(socket)

    async with FakeBridge(act) as bridge:
        watch, output = new_watch(bridge)
        await watch.run()
    assert watch.state.skipped == 42
    assert "gap: 42 messages skipped (12 dropped, 30 replaced by newer ones)" in output.lines
    assert "the bridge lost its MQTT broker" in output.lines
