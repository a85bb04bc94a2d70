"""A token for A sees nothing of B, whatever its holder tries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.core.device_ids import Allowed
from tests.functional.stream.clients import devices
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.served import Bridge, position, written

ATTEMPTS: list[dict[str, list[str]]] = [
    {"device_ids": ["B"]},
    {"device_ids": ["A,B"]},
    {"device_ids": ["A", "B", "*"]},
    {"device_ids": ["*"]},
    {"device_ids": [" B "]},
    {"device_ids": ["B", "Ｂ"]},
    {"groups": ["secret"]},
    {"groups": ["secret", "*"], "device_ids": ["A"]},
    {"device_ids": ["B*"]},
    {"device_ids": ["?"]},
]
GROUPS = '[groups]\nsecret = ["B"]\nwide = ["*"]\n'


async def secretive(start: StartBridge) -> Bridge:
    """A server with groups that A's holder is not in, and with a last-known message of B."""
    bridge = await start(groups_file=written(GROUPS))
    bridge.publish(position("A"), position("B"))
    return bridge


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=range(len(ATTEMPTS)))
async def test_nothing_of_b_in_the_url(start: StartBridge, attempt: dict[str, list[str]]) -> None:
    """By id, list, ``*`` or group: no snapshot, no live message, no gap of B."""
    bridge = await secretive(start)
    query = [(name, value) for name, values in attempt.items() for value in values]
    client = await bridge.connect("/api/v1/stream", bridge.token("A"), params=query)
    bridge.publish(position("B"), position("A"))
    bridge.streaming.intake.lost({"B": 5}, 0)
    await asyncio.sleep(0.05)  # for what must not come
    await client.socket.close()
    _, events = await client.end()
    assert set(devices(events)) <= {"A"}
    assert "gap" not in [event["event"] for event in events]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=range(len(ATTEMPTS)))
async def test_nothing_of_b_in_band(start: StartBridge, attempt: dict[str, list[str]]) -> None:
    """The same by command, before and after a refresh with an equal token."""
    bridge = await secretive(start)
    client = await bridge.join(bridge.token("A"))
    for _ in range(2):
        await client.ask("subscribe", **attempt)
        bridge.publish(position("B"), position("A"))
        bridge.streaming.intake.lost({"B": 5}, 0)
        events = await client.quiet()
        assert set(devices(events)) <= {"A"}
        assert "gap" not in [event["event"] for event in events]
        await client.ask("authenticate", token=bridge.token("A"))


async def test_unknown_and_forbidden_look_the_same(bridge: Bridge) -> None:
    """The answer does not tell whether a device exists."""
    bridge.publish(position("B"))
    client = await bridge.join(bridge.token("A"))
    forbidden = await client.ask("subscribe", device_ids=["B"])
    unknown = await client.ask("subscribe", device_ids=["X"])
    assert forbidden["data"]["refused"] == ["B"]
    assert unknown["data"] == {**forbidden["data"], "refused": ["X"]}
    for device_id in "BX":
        at_the_door = await bridge.connect(f"/api/v1/stream?device_ids={device_id}", bridge.token("A"))
        code, events = await at_the_door.end()
        assert (code, [event["data"]["code"] for event in events]) == (1008, ["not_allowed"])


async def test_patterns_allow_what_they_match_and_no_more(bridge: Bridge) -> None:
    """``truck-*-n`` is neither a prefix nor a suffix."""
    client = await bridge.connect("/api/v1/stream?device_ids=*", bridge.token("truck-*-n"))
    await client.until("subscribed")
    names = ["truck-1-n", "truck-1-s", "xtruck-1-n", "truck--n", "truck-n", "truck-*-n"]
    bridge.publish(*map(position, names))
    assert devices(await client.quiet()) == ["truck-1-n", "truck--n", "truck-*-n"]


# --- property: delivered ⊆ allowed --------------------------------------------------------------------

DEVICE_IDS = ["A", "B", "C", "north-1", "north-2", "south-1"]
rights = st.lists(st.sampled_from([*DEVICE_IDS, "north-*", "*-1", "S*"]), min_size=1, max_size=3)
selections = st.lists(st.sampled_from([*DEVICE_IDS, "*", "A,B", "X"]), min_size=1, max_size=3)
groups = st.lists(st.sampled_from(["secret", "wide", "none"]), max_size=2)
steps = st.one_of(
    st.tuples(st.just("subscribe"), selections, groups, st.booleans()),
    st.tuples(st.just("unsubscribe"), selections, groups),
    st.tuples(st.just("authenticate"), rights, st.booleans()),
    st.tuples(st.just("publish"), st.permutations(DEVICE_IDS)),
)


async def play(first: Sequence[str], script: Sequence[tuple[Any, ...]]) -> None:
    """One client, one script: after every step what came was allowed at that step, and asked for."""
    async with Bridge(groups_file=written(GROUPS)) as bridge:
        bridge.publish(*map(position, DEVICE_IDS))
        allowed = Allowed(first)
        client = await bridge.join(bridge.token(*first))
        for step in script:
            if step[0] == "publish":
                bridge.publish(*map(position, step[1]))
            elif step[0] == "authenticate":
                subject = "tester" if step[2] else "mallory"
                answer = await client.ask("authenticate", token=bridge.token(*step[1], subject=subject))
                if answer["event"] == "info":
                    allowed = Allowed(step[1])
            else:
                data: dict[str, Any] = {"device_ids": step[1], "groups": step[2]}
                if step[0] == "subscribe":
                    data["snapshot"] = step[3]
                answer = await client.ask(step[0], **data)
                assert answer["event"] != "error"
                assert all(name in allowed for name in answer["data"]["device_ids"] if name != "*")
                assert answer["data"]["groups"] == []
            came = devices(await client.quiet())
            assert [device_id for device_id in came if device_id not in allowed] == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=rights, script=st.lists(steps, min_size=1, max_size=8))
def test_delivered_is_always_within_allowed(first: list[str], script: list[tuple[Any, ...]]) -> None:
    """Under any order of commands, refreshes and messages nothing arrives that the newest token forbids."""
    with asyncio.Runner() as runner:
        runner.run(play(first, script))
