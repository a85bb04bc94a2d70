"""What a viewer may say on the stream, and the next token of the same share."""

from __future__ import annotations

import asyncio

from bridge.core.limits import COMMANDS_BURST, MAX_MESSAGE_BYTES, MAX_RATE_LIMITED
from bridge.core.times import parse_time, timestamp
from bridge.stream.limits import StreamLimits
from share.stream.tokens import mint
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import SHARE_RING, STREAM, SharingBridge, seed
from tests.functional.stream.clients import Client
from tests.functional.stream.raw import BINARY, PING, PONG, TEXT, frame
from tests.functional.stream.served import SECRETS

SHORT_GOODBYE = StreamLimits(close_seconds=0.3)
"""For clients that read to the end and say no goodbye; of one that does, a late answer would meet the cut."""


def foreign(bridge: SharingBridge, devices: str, ttl: float = 60.0, more: str = "") -> str:
    """A token of another service for these devices."""
    now = bridge.clock()
    claims = f'{{"device_ids":[{devices}],"iat":"{timestamp(now)}","exp":"{timestamp(now + ttl)}"{more}}}'
    made = SHARE_RING.seal(claims.encode())
    SECRETS.add(made)
    return made


def renewed(bridge: SharingBridge, share_id: str, ttl: float) -> str:
    """The next token of a share."""
    now = bridge.clock()
    made = mint(SHARE_RING, share_id, expires_at=now + ttl, now=now)
    SECRETS.add(made)
    return made


async def goes_on(bridge: SharingBridge, client: Client, lat: float) -> None:
    """The stream shows the next position."""
    bridge.publish(seed("A", lat=lat))
    event = await client.until("message")
    assert event["data"]["lat"] == lat


async def test_ping_and_info(bridge: SharingBridge) -> None:
    """Answered with their ref; info has the share as its viewers know it, and no device id."""
    viewer, share = await bridge.viewer("truck-7", label="Ann")
    assert (await viewer.ask("ping", 7))["event"] == "pong"
    await viewer.socket.send_str("ping")
    await viewer.expect("pong")
    info = await viewer.ask("info", "x")
    assert info["event"] == "info"
    assert info["data"]["share"]["label"] == "Ann"
    assert info["data"]["expires_at"] is not None
    assert {"principal", "device_ids", "groups", "patterns"} & info["data"].keys() == set()
    text = "".join(viewer.texts)
    assert "truck" not in text
    assert share.id not in text
    assert "tester" not in text


async def test_selection_cannot_be_changed(bridge: SharingBridge) -> None:
    """``not_available``, whatever is asked for; what is shown stays what it was."""
    viewer, _ = await bridge.viewer("A")
    for action in ("subscribe", "unsubscribe"):
        for devices in (["B"], ["*"], ["A"], []):
            answer = await viewer.ask(action, 3, device_ids=devices)
            assert (answer["event"], answer["data"]["code"]) == ("error", "not_available")
    bridge.publish(seed("B", lat=9.0), seed("A", lat=2.0))
    events = await viewer.quiet()
    assert [(event["alias"], event["data"]["lat"]) for event in events] == [("Van 1", 2.0)]
    assert bridge.streaming.broker.statistics().cohorts == 1


async def test_words_that_are_none(bridge: SharingBridge) -> None:
    """Told what is wrong, never echoed, and the stream goes on."""
    viewer, _ = await bridge.viewer("A")
    for text in (
        "",
        "{",
        "[]",
        '{"action":"publish","data":{}}',
        '{"action":"ping","x":1}',
        '{"action":1}',
        "<b>" * 99,
    ):
        await viewer.socket.send_str(text)
        error = await viewer.expect("error")
        assert len(str(error)) < 300
    await viewer.socket.send_bytes(b"\x00\x01")
    assert (await viewer.expect("error"))["code"] == "binary_not_supported"
    await goes_on(bridge, viewer, 2.0)


async def test_too_large_a_message(start: StartSharing) -> None:
    """MAX_MESSAGE_BYTES are read, one more ends it with 1009."""
    bridge = await start(stream=SHORT_GOODBYE)
    _, code = await bridge.share()
    client = await bridge.raw()
    await client.upgrade(STREAM, await bridge.token_of(code))
    await client.send(frame(TEXT, b"x" * MAX_MESSAGE_BYTES))
    await client.send(frame(BINARY, b"x" * (MAX_MESSAGE_BYTES + 1)))
    events, end = await client.events_to_end()
    assert end == 1009
    assert [event["data"]["code"] for event in events if event["event"] == "error"] == [
        "invalid_json",
        "message_too_big",
    ]


async def test_floods_are_limited_and_then_closed(start: StartSharing) -> None:
    """Commands and pings: the burst is answered, then each is refused, then 1013; another viewer notices nothing."""
    bridge = await start(stream=SHORT_GOODBYE)
    bridge.ticks.stop()
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    other = await bridge.view(token)
    await other.expect("hello")
    for sent, answer in ((frame(TEXT, b"ping"), "pong"), (frame(PING, b"x"), "")):
        client = await bridge.raw()
        await client.upgrade(STREAM, token)
        await client.send(sent * (COMMANDS_BURST + MAX_RATE_LIMITED + 20))
        pongs, events, end = 0, [], None
        while (taken := await client.frame()) is not None:
            if taken[0] == PONG:
                pongs += 1
            elif taken[0] == TEXT:
                events.append(taken[1])
            else:
                end = int.from_bytes(taken[1][:2], "big")
        pongs += sum(b'"pong"' in event for event in events) if answer else 0
        assert COMMANDS_BURST <= pongs <= COMMANDS_BURST + 10
        assert 0 < sum(b"rate_limited" in event for event in events) <= MAX_RATE_LIMITED
        assert end == 1013
    await goes_on(bridge, other, 3.0)


# --- the next token ------------------------------------------------------------------------------------


async def test_next_token_moves_the_end(bridge: SharingBridge) -> None:
    """Answered by info with the new end; the old one passes, and the stream goes on to the new."""
    share, code = await bridge.share()
    viewer = await bridge.view(renewed(bridge, share.id, 60))
    first = (await viewer.expect("hello"))["expires_at"]
    bridge.clock.advance(40)
    bridge.streaming.deadlines.enforce()
    await viewer.expect("expiring")
    token = await bridge.token_of(code)
    answer = await viewer.ask("authenticate", 9, token=token)
    assert answer["event"] == "info"
    assert answer["data"]["expires_at"] > first
    assert token not in str(answer)
    bridge.clock.advance(100)
    bridge.streaming.deadlines.enforce()
    await goes_on(bridge, viewer, 2.0)
    assert bridge.sharing.links.viewers(share.id) == 1
    assert bridge.came(share) == 1
    bridge.clock.advance(500)
    bridge.streaming.deadlines.enforce()
    assert (await viewer.end())[0] == 1000


async def test_shorter_token_moves_the_end_too(bridge: SharingBridge) -> None:
    """The newest token counts, not the longest."""
    share, _ = await bridge.share()
    viewer = await bridge.view(renewed(bridge, share.id, 600))
    await viewer.expect("hello")
    await viewer.ask("authenticate", token=renewed(bridge, share.id, 60))
    bridge.clock.advance(61)
    bridge.streaming.deadlines.enforce()
    code, events = await viewer.end()
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])


async def test_tokens_that_do_not_renew(bridge: SharingBridge) -> None:
    """Each is refused by name, the stream goes on with the token that it has, and ends with that one."""
    share, _ = await bridge.share()
    other, _ = await bridge.share("B")
    revoked, _ = await bridge.share("B")
    await bridge.sharing.links.revoke(revoked)
    viewer = await bridge.view(renewed(bridge, share.id, 60))
    await viewer.expect("hello")
    expired = renewed(bridge, share.id, 1)
    future = mint(SHARE_RING, share.id, expires_at=bridge.clock() + 200, now=bridge.clock() + 100)
    bridge.clock.advance(2)
    for token, expected in (
        (renewed(bridge, other.id, 60), "subject_changed"),
        (foreign(bridge, '"A"'), "subject_changed"),
        (renewed(bridge, revoked.id, 60), "share_closed"),
        (expired, "token_expired"),
        (future, "token_not_yet_valid"),
        ("nonsense", "token_invalid"),
        ("", "token_required"),
        (bridge.token("A"), "token_invalid"),
    ):
        answer = await viewer.ask("authenticate", 5, token=token)
        assert (answer["event"], answer["data"]["code"]) == ("error", expected)
        assert not token or token not in str(answer)
    await goes_on(bridge, viewer, 2.0)
    assert bridge.sharing.links.viewers(other.id) == 0
    bridge.clock.advance(59)
    bridge.streaming.deadlines.enforce()
    assert (await viewer.end())[0] == 1000


async def test_foreign_tokens_of_one_grant_are_one_thing(bridge: SharingBridge) -> None:
    """An equal grant renews, another one does not; viewers of equal grants share a room while one is there."""
    first = await bridge.view(foreign(bridge, '"A","B"', 60))
    second = await bridge.view(foreign(bridge, '"A","B"', 120))
    third = await bridge.view(foreign(bridge, '"A","B"', 120, ',"precision_m":100'))
    for viewer in (first, second, third):
        await viewer.expect("hello")
    assert len(bridge.sharing.rooms) == 2
    assert (await first.ask("authenticate", token=foreign(bridge, '"A","B"', 300)))["event"] == "info"
    for wrong in (
        foreign(bridge, '"A"'),
        foreign(bridge, '"B","A"'),
        foreign(bridge, '"A","B"', 60, ',"trail":5'),
    ):
        answer = await first.ask("authenticate", token=wrong)
        assert answer["data"]["code"] == "subject_changed"
    bridge.clock.advance(121)
    bridge.streaming.deadlines.enforce()
    assert ((await second.end())[0], (await third.end())[0]) == (1000, 1000)
    await goes_on(bridge, first, 2.0)


async def test_renewal_when_the_share_is_full(start: StartSharing) -> None:
    """Who is in stays in: the next token takes no second place."""
    bridge = await start(max_connections_per_share=2)
    share, _ = await bridge.share(max_viewers=1)
    viewer = await bridge.view(renewed(bridge, share.id, 60))
    await viewer.expect("hello")
    for _ in range(3):
        assert (await viewer.ask("authenticate", token=renewed(bridge, share.id, 60)))["event"] == "info"
    assert bridge.sharing.entrance.viewers == 1


async def test_renewals_at_the_last_moment(bridge: SharingBridge) -> None:
    """Twenty viewers whose tokens end while they send the next one: each ends on time or goes on, and none hangs."""
    share, _ = await bridge.share()
    token = renewed(bridge, share.id, 100)
    viewers = [await bridge.view(token) for _ in range(20)]
    hellos = [await viewer.expect("hello") for viewer in viewers]
    ends_at = parse_time(hellos[0]["expires_at"])
    bridge.clock.advance(ends_at - 25 - bridge.clock())
    bridge.streaming.deadlines.enforce()
    for viewer in viewers:
        await viewer.expect("expiring")

    async def one(number: int) -> bool:
        if number:  # the first one is in good time
            await asyncio.sleep(max(ends_at + (number - 15) * 0.005 - bridge.clock(), 0))
        try:
            await viewers[number].say("authenticate", token=renewed(bridge, share.id, 60))
        except ConnectionError:
            return False
        event = await viewers[number].next()
        assert event is not None and event["event"] in {"info", "expired"}
        return bool(event["event"] == "info")

    kept = [await one(0)]
    bridge.clock.advance(ends_at - 0.1 - bridge.clock())
    kept += await asyncio.gather(*(one(number) for number in range(1, 20)))
    assert kept[0]
    assert not kept[-1]
    assert bridge.sharing.links.viewers(share.id) >= sum(kept)
