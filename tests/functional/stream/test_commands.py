"""What a client may say on the live socket, and what it is answered."""

from __future__ import annotations

import json

import pytest

from bridge.core.limits import MAX_MESSAGE_BYTES, MAX_REF_CHARS
from tests.functional.stream.clients import devices, numbers
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.served import Bridge, happening, position

BAD_COMMANDS = [
    ("", "invalid_json"),
    ("pong", "invalid_json"),
    ("[]", "invalid_json"),
    ("null", "invalid_json"),
    ('{"action":"ping"', "invalid_json"),
    ('{"action":"ping","ref":"\\ud800"}', "invalid_json"),
    ("[" * 10_000, "invalid_json"),
    ("{}", "unknown_action"),
    ('{"action":"reboot"}', "unknown_action"),
    ('{"action":["ping"]}', "unknown_action"),
    ('{"action":"ping","reference":1}', "unknown_field"),
    ('{"action":"ping","ping":1}', "unknown_field"),
    ('{"action":"subscribe","data":{"subscribe":["A"]}}', "unknown_field"),
    ('{"action":"info","data":{"a":1}}', "unknown_field"),
    ('{"action":"subscribe"}', "missing_field"),
    ('{"action":"authenticate","data":{}}', "missing_field"),
    ('{"action":"subscribe","data":{"device_ids":"A"}}', "invalid_field"),
    ('{"action":"subscribe","data":{"device_ids":[1]}}', "invalid_field"),
    ('{"action":"subscribe","data":{"device_ids":["A"],"snapshot":1}}', "invalid_field"),
    ('{"action":"authenticate","data":{"token":"' + "x" * 2049 + '"}}', "invalid_field"),
    ('{"action":"ping","ref":1.5}', "invalid_field"),
    ('{"action":"ping","ref":true}', "invalid_field"),
    ('{"action":"ping","ref":{"a":1}}', "invalid_field"),
    ('{"action":"ping","ref":9007199254740993}', "invalid_field"),
    ('{"action":"ping","ref":"' + "x" * (MAX_REF_CHARS + 1) + '"}', "invalid_field"),
    ('{"action":"subscribe","data":{}}', "device_ids_required"),
    ('{"action":"subscribe","data":{"device_ids":[" ", ",,"],"groups":[","]}}', "device_ids_required"),
    ('{"action":"subscribe","data":{"device_ids":["+"]}}', "invalid_device_id"),
    ('{"action":"subscribe","data":{"device_ids":["A*"]}}', "invalid_device_id"),
    ('{"action":"subscribe","data":{"device_ids":["../A"]}}', "invalid_device_id"),
    ('{"action":"subscribe","data":{"device_ids":["A\\u0000"]}}', "invalid_device_id"),
    ('{"action":"unsubscribe","data":{"device_ids":["' + "x" * 65 + '"]}}', "invalid_device_id"),
]


@pytest.mark.parametrize("text,code", BAD_COMMANDS, ids=range(len(BAD_COMMANDS)))
async def test_bad_command_is_answered_and_changes_nothing(bridge: Bridge, text: str, code: str) -> None:
    """Each gets an error that says what is wrong; the socket stays open and goes on as before."""
    client = await bridge.watch()
    await client.socket.send_str(text)
    error = await client.expect("error")
    assert error["code"] == code
    assert error["message"]
    assert len(error["message"]) < 300
    bridge.publish(position("A", 1))
    assert numbers(await client.quiet()) == [1]


@pytest.mark.parametrize("ref", [0, -1, 2**53, "", "x" * MAX_REF_CHARS, "ñ\n\"'"])
async def test_ref_comes_back(bridge: Bridge, ref: object) -> None:
    """A whole number or a text returns in the answer as it was sent, also when the command is wrong."""
    client = await bridge.join()
    for action, kind in (("ping", "pong"), ("info", "info")):
        assert (await client.ask(action, ref))["event"] == kind
    error = await client.ask("subscribe", ref, device_ids=["#"])
    assert (error["event"], error["data"]["ref"]) == ("error", ref)
    wrong_field = await client.ask("ping", ref, nothing=1)
    assert wrong_field["data"]["code"] == "unknown_field"


async def test_command_without_ref_is_answered_without(bridge: Bridge) -> None:
    """``ref`` appears only where it was given; the bare word ``ping`` is enough for a pong."""
    client = await bridge.join()
    await client.socket.send_str("ping")
    await client.socket.send_str('{"action":"ping"}')
    await client.socket.send_str("ping ")
    assert [await client.next() for _ in range(2)] == [{"event": "pong", "data": {}}] * 2
    assert "ref" not in await client.expect("error")


async def test_subscribe_and_unsubscribe_in_band(bridge: Bridge) -> None:
    """What was asked for comes from then on, what was taken back no longer; the answers say both."""
    client = await bridge.join(bridge.token("A", "B", "C"))
    bridge.publish(position("A", 0))
    assert await client.quiet() == []
    answer = await client.ask("subscribe", 5, device_ids=["A", " B , C ", "A", "Z"])
    assert answer["event"] == "subscribed"
    assert answer["data"] == {"device_ids": ["A", "B", "C"], "groups": [], "refused": ["Z"]}
    bridge.publish(*(position(device_id, 1) for device_id in "ABCZ"))
    assert numbers(await client.quiet()) == [0, 1, 1, 1]
    answer = await client.ask("unsubscribe", 6, device_ids=["A", "Z", "not there"])
    assert answer["event"] == "unsubscribed"
    assert answer["data"] == {"device_ids": ["A"], "groups": [], "refused": []}
    bridge.publish(*(position(device_id, 2) for device_id in "ABC"))
    assert devices(await client.quiet()) == ["B", "C"]


async def test_everything_can_be_taken_back_and_single_devices_stay(bridge: Bridge) -> None:
    """``*`` is one selection beside the others: unsubscribing from it leaves what was named."""
    client = await bridge.join(bridge.token("A*", "B"))
    answer = await client.ask("subscribe", device_ids=["*", "B"])
    assert answer["data"]["device_ids"] == ["B", "*"]
    bridge.publish(position("A1"), position("A2"), position("B"), position("C"))
    assert devices(await client.quiet()) == ["A1", "A2", "B"]
    assert (await client.ask("unsubscribe", device_ids=["*"]))["data"]["device_ids"] == ["*"]
    bridge.publish(position("A1"), position("B"), position("C"))
    assert devices(await client.quiet()) == ["B"]


async def test_subscribing_again_brings_no_message_twice(bridge: Bridge) -> None:
    """A device that is named, in ``*`` and asked for twice is delivered once."""
    client = await bridge.join(bridge.token("*"))
    for _ in range(3):
        await client.ask("subscribe", device_ids=["A", "*"], snapshot=False)
    bridge.publish(happening("A", 1), happening("A", 2))
    assert numbers(await client.quiet()) == [1, 2]


async def test_snapshot_shows_only_what_was_added(bridge: Bridge) -> None:
    """A second subscribe replays the new devices, not those that were there."""
    bridge.publish(position("A", 1), position("B", 2))
    client = await bridge.join(bridge.token("A", "B"))
    await client.ask("subscribe", device_ids=["A"])
    assert numbers(await client.quiet()) == [1]
    await client.ask("subscribe", device_ids=["B"])
    assert numbers(await client.quiet()) == [2]


async def test_info_tells_what_the_server_knows(bridge: Bridge) -> None:
    """Selection, principal and counts of this stream."""
    client = await bridge.watch("A,B", bridge.token("A", "B", subject="ana"))
    bridge.publish(position("A"), position("B"), position("C"))
    await client.quiet()
    info = (await client.ask("info"))["data"]
    assert info["device_ids"] == ["A", "B"]
    assert info["principal"]["subject"] == "ana"
    assert (info["sent"], info["dropped"], info["conflated"]) == (2, 0, 0)
    assert info["queue"] == {"messages": 0, "bytes": 0, "peak_messages": 0}
    assert info["connected_seconds"] >= 0


async def test_too_many_devices_are_refused_whole(start: StartBridge) -> None:
    """At the limit all is well; one more is an error, and what was selected before stays."""
    bridge = await start(max_device_ids=3)
    client = await bridge.join(bridge.token("*"))
    assert (await client.ask("subscribe", device_ids=["A,B", "C"]))["event"] == "subscribed"
    for more in (["D"], ["A", "B", "C", "D"]):
        assert (await client.ask("subscribe", device_ids=more))["data"]["code"] == "too_many_device_ids"
    assert (await client.ask("subscribe", device_ids=["A"]))["event"] == "subscribed"
    bridge.publish(position("A"), position("D"))
    assert devices(await client.quiet()) == ["A"]
    await client.ask("unsubscribe", device_ids=["A"])
    assert (await client.ask("subscribe", device_ids=["D"]))["event"] == "subscribed"


async def test_largest_message_is_taken(bridge: Bridge) -> None:
    """A command of exactly the limit is carried out."""
    client = await bridge.join()
    text = json.dumps({"action": "ping", "ref": "big"})
    await client.socket.send_str(text + " " * (MAX_MESSAGE_BYTES - len(text)))
    assert await client.next() == {"event": "pong", "ref": "big", "data": {}}


async def test_binary_message_is_answered_with_an_error(bridge: Bridge) -> None:
    """Commands are text; a binary frame closes nothing."""
    client = await bridge.watch()
    await client.socket.send_bytes(b'{"action":"ping"}')
    assert (await client.expect("error"))["code"] == "binary_not_supported"
    assert await client.quiet() == []


async def test_url_stream_obeys_commands_too(bridge: Bridge) -> None:
    """``/stream`` begins with a selection and can change it in-band."""
    client = await bridge.watch("A", bridge.token("A", "B"))
    await client.ask("subscribe", device_ids=["B"])
    await client.ask("unsubscribe", device_ids=["A"])
    bridge.publish(position("A"), position("B"))
    assert devices(await client.quiet()) == ["B"]
