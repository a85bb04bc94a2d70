"""A new token on the live socket."""

from __future__ import annotations

import asyncio

from tests.functional.stream.clients import devices
from tests.functional.stream.served import Bridge, position


async def test_longer_token_prolongs_the_stream(bridge: Bridge) -> None:
    """The stream outlives its first token, is warned anew, and ends with the second."""
    bridge.clock.stop()
    client = await bridge.watch("A", bridge.token("A", ttl=0.3))
    await client.until("expiring")
    answer = await client.ask("authenticate", 3, token=bridge.token("A", ttl=3600))
    assert answer["event"] == "info"
    assert answer["data"]["refused"] == []
    assert answer["data"]["expires_at"] > client.seen[0]["data"]["expires_at"]
    bridge.clock.advance(0.4)
    await asyncio.sleep(0.4)  # past the first token's end, by both clocks
    bridge.publish(position("A", 1))
    await client.expect("message")
    bridge.clock.advance(3580)
    bridge.publish(position("A", 2))
    assert [event["event"] for event in await client.quiet()] == ["expiring", "message"]
    bridge.clock.advance(30)
    assert (await client.end())[0] == 1000


async def test_shorter_token_shortens_the_stream(bridge: Bridge) -> None:
    """The newest token counts, also when it ends sooner."""
    bridge.clock.stop()
    client = await bridge.watch("A", bridge.token("A", ttl=3600))
    await client.ask("authenticate", token=bridge.token("A", ttl=0.3))
    await client.expect("expiring")
    bridge.clock.advance(0.3)
    code, events = await client.end()
    assert (code, [event["event"] for event in events]) == (1000, ["expired"])


async def test_narrower_token_takes_devices_away(bridge: Bridge) -> None:
    """What the new token does not allow is named as refused and comes no longer, by id, by ``*`` and by group."""
    client = await bridge.join(bridge.token("A", "B"))
    await client.ask("subscribe", device_ids=["A", "B", "*"])
    answer = await client.ask("authenticate", token=bridge.token("B"))
    assert answer["data"]["refused"] == ["A"]
    assert answer["data"]["device_ids"] == ["B", "*"]
    bridge.publish(position("A", 1), position("B", 2))
    assert devices(await client.quiet()) == ["B"]
    assert (await client.ask("subscribe", device_ids=["A"]))["data"]["refused"] == ["A"]


async def test_wider_token_widens_everything(bridge: Bridge) -> None:
    """``*`` follows the token; ids that were refused must be asked for again."""
    client = await bridge.connect("/api/v1/stream?device_ids=*", bridge.token("A"))
    await client.until("subscribed")
    await client.ask("authenticate", token=bridge.token("A", "B"))
    bridge.publish(position("A", 1), position("B", 2), position("C", 3))
    assert devices(await client.quiet()) == ["A", "B"]


async def test_bad_refresh_changes_nothing(bridge: Bridge) -> None:
    """Another subject, an expired token, a lost scope, nonsense: an error each, and the old token stays."""
    client = await bridge.watch("A", bridge.token("A", ttl=3600))
    bad = {
        "subject_changed": bridge.token("A", "B", subject="mallory"),
        "token_expired": bridge.token("A", "B", ttl=60, since=-61),
        "token_not_yet_valid": bridge.token("A", "B", since=600),
        "scope_missing": bridge.token("A", "B", scopes=["share"]),
        "token_invalid": "v4.local.nonsense",
        "token_required": "",
    }
    for code, token in bad.items():
        answer = await client.ask("authenticate", code, token=token)
        assert (answer["event"], answer["data"]["code"]) == ("error", code)
    info = (await client.ask("info"))["data"]
    assert info["principal"] == client.seen[0]["data"]["principal"]
    assert info["expires_at"] == client.seen[0]["data"]["expires_at"]
    assert bridge.streaming.admission.by_principal == {"tester": 1}
    bridge.publish(position("A", 1), position("B", 2))
    assert devices(await client.quiet()) == ["A"]
    bridge.clock.advance(3601)
    assert (await client.end())[0] == 1000


async def test_many_refreshes_leave_one_deadline(bridge: Bridge) -> None:
    """A client that refreshes all day is counted once and has one deadline."""
    client = await bridge.join(bridge.token(ttl=3600))
    for number in range(30):
        answer = await client.ask("authenticate", number, token=bridge.token(ttl=3600 + number))
        assert answer["event"] == "info"
    assert len(bridge.streaming.deadlines) == 1
    assert bridge.streaming.admission.by_principal == {"tester": 1}
