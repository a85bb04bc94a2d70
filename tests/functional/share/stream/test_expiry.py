"""The end of a token and of a share: on time, for everyone, and nothing after it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from bridge.core.times import parse_time, timestamp
from bridge.stream.limits import StreamLimits
from share.model.draft import Changes
from share.stream.session import ShareViewer
from share.stream.tokens import mint
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import (
    SHARE_RING,
    SMALL_BUFFER_BYTES,
    SharingBridge,
    flood,
    seed,
    sessions,
    stalled,
)
from tests.functional.stream.raw import PING, TEXT
from tests.functional.stream.served import SECRETS, Lateness, eventually, open_sockets

TOLERANCE_SECONDS = 0.25
"""What is promised, of a loop that is not late itself."""


@pytest.fixture
async def by_timers(start: StartSharing) -> SharingBridge:
    """A server that notices an end by the timer that is set for it, and cuts a stalled socket by the one for its end,
    or does neither for a minute."""
    limits = StreamLimits(recheck_seconds=60.0, close_seconds=60.0)
    return await start(stream=limits, send_buffer_bytes=SMALL_BUFFER_BYTES)


def leave(bridge: SharingBridge, seconds: float, ends_at: float) -> Lateness:
    """Set the clock so that ``seconds`` are left until ``ends_at``, and have it noticed, as it is within a second."""
    bridge.clock.advance(ends_at - seconds - bridge.clock())
    bridge.streaming.deadlines.set("look", 0.0, lambda: None)  # what is due has the timers made anew
    bridge.streaming.deadlines.enforce()
    return Lateness(time.monotonic() + ends_at - bridge.clock())


def token_of(bridge: SharingBridge, share_id: str, ttl: float) -> str:
    """A token of a share for ``ttl`` seconds."""
    now = bridge.clock()
    made = mint(SHARE_RING, share_id, expires_at=now + ttl, now=now)
    SECRETS.add(made)
    return made


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """What happened, but for messages."""
    return [event["event"] for event in events if event["event"] != "message"]


async def test_expired_comes_on_time_and_nothing_after_it(by_timers: SharingBridge) -> None:
    """The end of a token under a flood: ``expiring`` before, ``expired`` and 1000 within 250 ms of ``exp``."""
    bridge = by_timers
    share, _ = await bridge.share()
    viewer = await bridge.view(token_of(bridge, share.id, 500))
    hello = await viewer.expect("hello")
    ends_at = parse_time(hello["expires_at"])
    flooding = asyncio.create_task(flood(bridge))
    try:
        leave(bridge, 20, ends_at)
        assert (await viewer.until("expiring"))["data"] == {"expires_at": hello["expires_at"]}
        async with leave(bridge, 0.5, ends_at) as lateness:
            code, events = await viewer.end()
            assert 0 <= bridge.clock() - ends_at < TOLERANCE_SECONDS + lateness.seconds
    finally:
        flooding.cancel()
    assert (code, viewer.reason) == (1000, "token expired")
    assert events[-1] == {"event": "expired", "data": {"expires_at": hello["expires_at"]}}
    assert set(kinds(events[:-1])) <= {"gap"}


async def test_end_of_the_share_on_time(by_timers: SharingBridge) -> None:
    """All its viewers, whenever their tokens were made: ``expired`` and 1000 within 250 ms; then init says so."""
    bridge = by_timers
    share, code = await bridge.share(ttl=500)
    viewers = [await bridge.view(await bridge.token_of(code)) for _ in range(5)]
    viewers.append(await bridge.view(token_of(bridge, share.id, 900)))  # as one that was made before it was shortened
    for viewer in viewers:
        assert (await viewer.expect("hello"))["expires_at"] == timestamp(share.ends_at)
    leave(bridge, 20, share.ends_at)
    for viewer in viewers:
        await viewer.expect("expiring")
    async with leave(bridge, 0.5, share.ends_at) as lateness:
        for end, events in await asyncio.gather(*(viewer.end() for viewer in viewers)):
            assert (end, kinds(events)) == (1000, ["expired"])
        assert 0 <= bridge.clock() - share.ends_at < TOLERANCE_SECONDS + lateness.seconds
    assert (await bridge.init(code))[1]["code"] == "share_ended"


async def test_expiring_is_half_a_minute_before(bridge: SharingBridge) -> None:
    """Once, and not before."""
    bridge.clock.stop()
    share, _ = await bridge.share()
    viewer = await bridge.view(token_of(bridge, share.id, 60))
    await viewer.expect("hello")
    bridge.clock.advance(29)
    bridge.streaming.deadlines.enforce()
    assert await viewer.quiet() == []
    bridge.clock.advance(1)
    bridge.streaming.deadlines.enforce()
    await viewer.expect("expiring")
    bridge.clock.advance(29)
    bridge.streaming.deadlines.enforce()
    assert await viewer.quiet() == []


async def test_stalled_viewers_are_cut_on_time(by_timers: SharingBridge) -> None:
    """Ones that read nothing while positions flood: their files are gone within 250 ms, what waited with them."""
    bridge = by_timers
    share, _ = await bridge.share()
    ends_at = bridge.clock() + 500
    token = token_of(bridge, share.id, 500)
    before = open_sockets()
    clients = [await stalled(bridge, token) for _ in range(3)]
    flooding = asyncio.create_task(flood(bridge))
    try:
        await eventually(lambda: bridge.streaming.broker.statistics().behind == 3)
        async with leave(bridge, 0.5, ends_at) as lateness:
            await eventually(lambda: open_sockets() <= before + 3, open_sockets)
            assert -0.001 <= bridge.clock() - ends_at < TOLERANCE_SECONDS + lateness.seconds  # exp has milliseconds
    finally:
        flooding.cancel()
    for client in clients:
        assert b'"expired"' not in await client.all_bytes()
        assert client.ended == "reset"


async def test_delayed_position_is_never_shown_after_the_end(bridge: SharingBridge) -> None:
    """It waits for a delay that passes after ``exp``: neither it nor anything else comes."""
    viewer, share = await bridge.viewer("A", ttl=3600, delay_s=0.3)
    bridge.publish(seed("A", lat=1.0))
    await viewer.expect("message")
    bridge.publish(seed("A", lat=2.0))
    bridge.clock.advance(601)  # the token has expired, and the release of the position is what notices
    code, events = await viewer.end()
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])
    assert bridge.sharing.links.find_open(share.id) is not None


async def test_delayed_position_is_never_shown_after_the_end_of_the_share(bridge: SharingBridge) -> None:
    """The channel goes with the share, and what waited in it."""
    viewer, _ = await bridge.viewer("A", ttl=60, delay_s=0.1)
    bridge.publish(seed("A", lat=2.0))
    bridge.clock.advance(61)
    bridge.streaming.deadlines.enforce()
    code, events = await viewer.end()
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])
    await asyncio.sleep(0.15)  # for what must not happen


# --- changes of the end --------------------------------------------------------------------------------


async def test_extension_is_told_and_the_next_token_lasts(bridge: SharingBridge) -> None:
    """``share`` with the new end; the token that was cut at the old one ends there, the next one later."""
    share, code = await bridge.share(ttl=100, label="Ann")
    staying = await bridge.view(await bridge.token_of(code))
    leaving = await bridge.view(await bridge.token_of(code))
    before = await staying.expect("hello")
    await leaving.expect("hello")
    changed = await bridge.sharing.links.change(share, Changes(ends_at=share.ends_at + 300))
    for viewer in (staying, leaving):
        told = await viewer.expect("share")
        assert told == {**before["share"], "ends_at": timestamp(changed.ends_at)}
    status, answer = await bridge.init(code)
    assert (status, answer["expires_at"]) == (200, timestamp(changed.ends_at))
    renewed = await staying.ask("authenticate", token=answer["token"])
    assert renewed["data"]["expires_at"] == timestamp(changed.ends_at)
    bridge.clock.advance(101)
    bridge.streaming.deadlines.enforce()
    assert kinds((await leaving.end())[1]) == ["expired"]
    bridge.publish(seed("A"))
    await staying.expect("message")


async def test_shortening_ends_open_streams_at_the_new_end(by_timers: SharingBridge) -> None:
    """Told by ``share`` and ``expiring``, then 1000 on time; the token that they hold opens nothing later."""
    bridge = by_timers
    share, code = await bridge.share(ttl=3600)
    token = await bridge.token_of(code)
    viewer = await bridge.view(token)
    await viewer.expect("hello")
    changed = await bridge.sharing.links.change(share, Changes(ends_at=bridge.clock() + 25))
    assert (await viewer.expect("share"))["ends_at"] == timestamp(changed.ends_at)
    assert (await viewer.expect("expiring"))["expires_at"] == timestamp(changed.ends_at)
    late_comer = await bridge.view(token)
    assert (await late_comer.expect("hello"))["expires_at"] == timestamp(changed.ends_at)
    async with leave(bridge, 0.5, changed.ends_at) as lateness:
        for each in (viewer, late_comer):
            assert (await each.end())[0] == 1000
            assert 0 <= bridge.clock() - changed.ends_at < TOLERANCE_SECONDS + lateness.seconds
    again = await bridge.view(token)
    assert [event["data"]["code"] for event in (await again.end())[1]] == ["share_closed"]


async def test_new_names_are_told(bridge: SharingBridge) -> None:
    """Label and aliases, in the event and in what follows; a foreign token's viewer of the same device gets none."""
    viewer, share = await bridge.viewer("A", "B", label="old")
    await bridge.sharing.links.change(share, Changes(label="new", aliases={"B": "Bus"}))
    told = await viewer.expect("share")
    assert told["label"] == "new"
    assert told["devices"] == [{"alias": "Van 1"}, {"alias": "Bus"}]
    bridge.publish(seed("B"))
    event = await viewer.next()
    assert event is not None and event["alias"] == "Bus"
    await bridge.sharing.links.change(share, Changes(max_viewers=5))
    assert await viewer.quiet() == []  # it does not concern them


async def test_new_name_reaches_a_viewer_that_did_not_read(
    start: StartSharing,
) -> None:
    """One that takes no data is not told then, but with the first ping that it takes, and once."""
    bridge = await start(send_buffer_bytes=SMALL_BUFFER_BYTES, heartbeat_seconds=300)
    share, code = await bridge.share("A", label="old")
    client = await stalled(bridge, await bridge.token_of(code))
    (session,) = sessions(bridge)
    told: list[dict[str, Any]] = []

    async def read_to(lat: float) -> list[str]:
        """Publish this position and read up to it: what came before it, but for messages and losses."""
        bridge.publish(seed("A", lat=lat))
        kinds: list[str] = []
        while (taken := await client.frame()) is not None:
            if taken[0] == PING:
                kinds.append("PING")
            elif taken[0] == TEXT:
                event = json.loads(taken[1])
                if event["event"] == "message" and event["data"]["lat"] == lat:
                    return [kind for kind in kinds if kind not in {"message", "gap", "ping"}]
                told.append(event)
                kinds.append(event["event"])
        raise AssertionError(client.ended)

    flooding = asyncio.create_task(flood(bridge))
    await eventually(lambda: not session.takes_data)
    flooding.cancel()
    await bridge.sharing.links.change(share, Changes(label="new"))
    session.ping()
    assert await read_to(51.0) == ["hello"]
    assert session.takes_data
    session.ping()
    assert await read_to(52.0) == ["share", "PING"]
    assert [event["data"]["label"] for event in told if event["event"] == "share"] == ["new"]
    session.ping()
    assert await read_to(53.0) == ["PING"]


# --- clocks ---------------------------------------------------------------------------------------------


async def test_clock_that_is_set_forward(bridge: SharingBridge) -> None:
    """After an hour tokens have expired, the share of two hours has not: init gives the next token."""
    share, code = await bridge.share(ttl=7200)
    viewer = await bridge.view(await bridge.token_of(code))
    await viewer.expect("hello")
    bridge.clock.advance(3600)
    end, events = await viewer.end()  # which waits for seconds; the timer was set for minutes
    assert (end, [event["event"] for event in events]) == (1000, ["expired"])
    again = await bridge.view(await bridge.token_of(code))
    assert (await again.expect("hello"))["share"]["ends_at"] == timestamp(share.ends_at)
    bridge.publish(seed("A"))
    await again.expect("message")


async def test_clock_that_is_set_back(bridge: SharingBridge) -> None:
    """An hour: the streams go on, nothing from before the start is shown, and when it is right again all is well."""
    share, code = await bridge.share()
    token = await bridge.token_of(code)
    viewer = await bridge.view(token)
    await viewer.expect("hello")
    bridge.clock.advance(-3600)
    bridge.publish(seed("A", lat=2.0))
    assert await viewer.quiet() == []
    status, answer = await bridge.init(code)
    assert (status, answer["code"]) == (403, "share_not_started")
    assert answer["starts_at"] == timestamp(share.starts_at)
    refused = await bridge.view(token)
    assert (await refused.end())[0] == 1008
    bridge.clock.advance(3601)
    bridge.publish(seed("A", lat=3.0))
    assert [event["data"]["lat"] for event in await viewer.quiet()] == [3.0]


async def test_late_loop_shows_nothing_after_the_end(bridge: SharingBridge) -> None:
    """A loop that was held up past ``exp``: whatever runs first, a position, a command or a loss, ends the stream."""
    for number in range(4):
        viewer, share = await bridge.viewer("A", ttl=3600)
        bridge.clock.advance(601)
        if number == 0:
            bridge.publish(seed("A", lat=2.0))
        elif number == 1:
            bridge.streaming.intake.lost({"A": 3}, 0)
        elif number == 2:
            await viewer.say("info")
        else:
            await bridge.sharing.links.change(share, Changes(label="new"))
        code, events = await viewer.end()
        assert code == 1000
        assert [event["event"] for event in events][-1] == "expired"
        assert {event["event"] for event in events} <= {"expired", "share"}


async def test_share_that_ends_when_its_viewers_are_going(bridge: SharingBridge) -> None:
    """A viewer that was given up in the same moment leaves nothing behind, nor takes a thing from a fleet's watcher."""
    watcher = await bridge.watch("A")
    viewer, _ = await bridge.viewer("A", ttl=100)
    (session,) = [each for each in sessions(bridge) if isinstance(each.role, ShareViewer)]
    bridge.clock.advance(101)
    session.stalled()
    bridge.streaming.deadlines.enforce()
    await viewer.end()
    await eventually(lambda: len(bridge.streaming.streams) == 1)
    assert bridge.sharing.entrance.viewers == 0
    bridge.publish(seed("A"))
    await watcher.expect("message")
    await (await bridge.watch("A")).until("message")
