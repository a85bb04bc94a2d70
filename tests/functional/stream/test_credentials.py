"""Every way to present a token, and every way in which one is refused."""

from __future__ import annotations

import pytest

from bridge.access.paseto import KeyRing, generate_key
from tests.functional.stream.clients import Client
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.served import SECRETS, Bridge, position, stream_limits

STREAM = "/api/v1/stream?device_ids=A"


async def arrives(bridge: Bridge, client: Client) -> None:
    """The client is welcome and gets what it may see."""
    assert (await client.expect("hello"))["principal"]["subject"] == "tester"
    await client.expect("subscribed")
    bridge.publish(position("A"))
    await client.expect("message")


async def refused(client: Client, code: str, close_code: int = 1008) -> None:
    """The client hears why, and nothing else, and is closed."""
    got, events = await client.end()
    assert [(event["event"], event["data"]["code"]) for event in events] == [("error", code)]
    assert got == close_code


async def test_token_in_the_header(bridge: Bridge) -> None:
    """``Authorization: Bearer``, whatever the case of the word."""
    client = await bridge.connect(STREAM, headers={"Authorization": f"bEARER  {bridge.token()}"})
    await arrives(bridge, client)


async def test_token_as_subprotocol(bridge: Bridge) -> None:
    """A browser's way: the token is offered as a subprotocol, and the server selects the other one."""
    client = await bridge.connect(STREAM, protocols=("telemetry-bridge", f"bearer.{bridge.token()}"))
    assert client.socket.protocol == "telemetry-bridge"
    await arrives(bridge, client)


async def test_token_as_the_only_subprotocol(bridge: Bridge) -> None:
    """Taken too; no subprotocol is selected, least of all the one with the token in it."""
    client = await bridge.connect(STREAM, protocols=(f"bearer.{bridge.token()}",))
    assert client.socket.protocol is None
    await arrives(bridge, client)


async def test_token_in_the_cookie(bridge: Bridge) -> None:
    """For pages of the same site."""
    await arrives(bridge, await bridge.connect(STREAM, cookies={"telemetry_bridge_token": bridge.token()}))


async def test_token_in_the_query(bridge: Bridge) -> None:
    """The simplest client's way; it reaches no log, which the fixture checks."""
    await arrives(bridge, await bridge.connect(f"{STREAM}&token={bridge.token()}"))


async def test_token_in_the_first_message(bridge: Bridge) -> None:
    """``/ws`` says hello to nobody, takes the token, and then obeys."""
    client = await bridge.connect("/api/v1/ws")
    assert (await client.expect("hello"))["principal"] is None
    assert (await client.ask("subscribe", device_ids=["A"]))["data"]["code"] == "not_authenticated"
    answer = await client.ask("authenticate", token=bridge.token())
    assert (answer["event"], answer["data"]["principal"]["subject"]) == ("info", "tester")
    assert (await client.ask("subscribe", device_ids=["A"]))["event"] == "subscribed"
    bridge.publish(position("A"))
    await client.expect("message")


async def test_same_token_twice_is_one_token(bridge: Bridge) -> None:
    """Header and cookie may both hold it; two different ones are refused."""
    token = bridge.token()
    await arrives(bridge, await bridge.connect(STREAM, token, cookies={"telemetry_bridge_token": token}))
    await refused(await bridge.connect(f"{STREAM}&token={token}", bridge.token()), "token_invalid")


def bad_tokens(bridge: Bridge) -> dict[str, tuple[str, str]]:
    """Tokens that must be refused, with the code."""
    good = bridge.token()
    return {
        "empty": ("", "token_required"),
        "word": ("nonsense", "token_invalid"),
        "expired": (bridge.token(ttl=60, since=-61), "token_expired"),
        "not yet": (bridge.token(since=3000), "token_not_yet_valid"),
        "scope": (bridge.token(scopes=["share", "admin"]), "scope_missing"),
        "no scope": (bridge.token(scopes=[]), "scope_missing"),
        "tampered": (good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"), "token_invalid"),
        "junk": (good[:30] + "!!!!" + good[30:], "token_invalid"),
        "padded": (good + "==", "token_invalid"),
        "other key": (KeyRing([generate_key()]).seal(b'{"sub":"x","exp":"2999-01-01T00:00:00Z"}'), "token_invalid"),
        "long": ("v4.local." + "A" * 3000, "token_invalid"),
    }


@pytest.mark.parametrize(
    "name",
    ["empty", "word", "expired", "not yet", "scope", "no scope", "tampered", "junk", "padded", "other key", "long"],
)
async def test_bad_token_is_told_and_closed(bridge: Bridge, name: str) -> None:
    """On ``/stream`` by header and by query, on ``/ws`` by header and by message: error and 1008."""
    token, code = bad_tokens(bridge)[name]
    if len(token) > 100:
        SECRETS.add(token)
    await refused(await bridge.connect(STREAM, token), code)
    await refused(await bridge.connect("/api/v1/stream", params={"device_ids": "A", "token": token}), code)
    if token:
        await refused(await bridge.connect("/api/v1/ws", token), code)
    if len(token) < 2048:
        client = await bridge.connect("/api/v1/ws")
        await client.expect("hello")
        await client.say("authenticate", 7, token=token)
        await refused(client, code)
        assert client.seen[-1]["ref"] == 7
    assert bridge.streaming.broker.statistics().subscriptions == 0


async def test_no_token_on_stream_is_refused_at_once(bridge: Bridge) -> None:
    """``/stream`` needs its token in the request."""
    await refused(await bridge.connect(STREAM), "token_required")


async def test_nobody_has_longer_than_that_to_authenticate(start: StartBridge) -> None:
    """A silent socket on ``/ws``, and one that only chats, are closed when the time is up."""
    bridge = await start(limits=stream_limits(authenticate_seconds=0.5))
    silent, chatty = await bridge.connect("/api/v1/ws"), await bridge.connect("/api/v1/ws")
    for client in (silent, chatty):
        await client.expect("hello")
    assert (await chatty.ask("ping"))["event"] == "pong"
    assert (await chatty.ask("info"))["data"]["principal"] is None
    for client in (silent, chatty):
        await refused(client, "token_required")


async def test_token_in_time_stops_the_clock(start: StartBridge) -> None:
    """A client that has authenticated is not closed when another one's time is up."""
    bridge = await start(limits=stream_limits(authenticate_seconds=0.5))
    early, late = await bridge.connect("/api/v1/ws"), await bridge.connect("/api/v1/ws")
    for client in (early, late):
        await client.expect("hello")
    await early.ask("authenticate", token=bridge.token())
    await refused(late, "token_required")
    assert await early.quiet() == []


async def test_off_lets_everyone_see_everything(start: StartBridge) -> None:
    """With AUTH=off no token is needed, and one that is sent does no harm."""
    bridge = await start(auth="off", access_keys="")
    for token in (None, "whatever"):
        client = await bridge.connect("/api/v1/stream?device_ids=*&snapshot=false", token)
        hello = await client.expect("hello")
        assert hello["expires_at"] is None
        assert hello["principal"]["subject"] == "anonymous"
        await client.expect("subscribed")
        bridge.publish(position("Z"))
        await client.expect("message")
        assert (await client.ask("authenticate", token="x"))["event"] == "info"
        await client.leave()


@pytest.mark.parametrize(
    "host,status",
    [("127.0.0.1", 101), ("localhost:1", 101), ("[::1]:8000", 101), ("evil.example", 403), ("[::1", 403), ("", 403)],
)
async def test_off_needs_a_loopback_host(start: StartBridge, host: str, status: int) -> None:
    """A page that points its own name at 127.0.0.1 (DNS rebinding) gets nothing."""
    bridge = await start(auth="off", access_keys="")
    client = await bridge.raw()
    assert (await client.request("GET", STREAM, Host=host))[0] == status
