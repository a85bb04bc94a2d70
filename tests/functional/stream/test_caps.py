"""How many streams there may be: in all, per address, per subject, per second."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.fakes import Clock
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.served import Bridge, eventually

WS = "/api/v1/ws"


async def refusal(bridge: Bridge, **options: object) -> tuple[int, str | None]:
    """Status and Retry-After with which one more stream is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await bridge.connect(WS, bridge.token(), **options)
    assert caught.value.headers is not None
    return caught.value.status, caught.value.headers.get("Retry-After")


async def test_streams_in_all(start: StartBridge) -> None:
    """One above the cap is refused with 503 and Retry-After; when one has gone the next comes in."""
    bridge = await start(max_connections=3)
    clients = [await bridge.join() for _ in range(3)]
    assert await refusal(bridge) == (503, "5")
    await clients[0].leave()
    await eventually(lambda: bridge.streaming.admission.connections == 2)
    await bridge.join()
    assert await refusal(bridge) == (503, "5")
    assert bridge.streaming.admission.refused == {"full": 2}


async def test_streams_of_one_address(start: StartBridge) -> None:
    """429 above the cap, whatever the client writes into X-Forwarded-For."""
    bridge = await start(max_connections_per_ip=2)
    for number in range(2):
        client = await bridge.connect(WS, bridge.token(), headers={"X-Forwarded-For": f"203.0.113.{number}"})
        await client.expect("hello")
    for forged in ("203.0.113.9", "", "127.0.0.2, 203.0.113.10", "nonsense"):
        assert await refusal(bridge, headers={"X-Forwarded-For": forged}) == (429, "5")
    assert bridge.streaming.admission.by_ip == {"127.0.0.1": 2}


async def test_streams_of_one_address_behind_a_trusted_proxy(start: StartBridge) -> None:
    """The proxy's word counts, read from the right: what the client has put before it changes nothing."""
    bridge = await start(max_connections_per_ip=1, trusted_proxies="127.0.0.0/8,10.0.0.0/8")
    for chain in ("203.0.113.1", "198.51.100.7, 203.0.113.2", "203.0.113.1, 203.0.113.3, 10.1.1.1", "2001:db8::1"):
        client = await bridge.connect(WS, bridge.token(), headers={"X-Forwarded-For": chain})
        await client.expect("hello")
    for chain in (
        "203.0.113.1",
        "203.0.113.99, 203.0.113.1",
        "9.9.9.9, 203.0.113.2, 10.2.2.2, 10.3.3.3",
        "2001:db8::1",
    ):
        assert await refusal(bridge, headers={"X-Forwarded-For": chain}) == (429, "5")
    assert set(bridge.streaming.admission.by_ip) == {"203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8::1"}


async def test_streams_of_one_subject(start: StartBridge) -> None:
    """Told why and closed with 1013, on every way in: later there may be room. Other subjects are not concerned."""
    bridge = await start(max_connections_per_principal=2)
    first, _second = [await bridge.join(bridge.token(subject="ana")) for _ in range(2)]
    await bridge.join(bridge.token(subject="ben"))
    for path in (WS, "/api/v1/stream?device_ids=A"):
        client = await bridge.connect(path, bridge.token(subject="ana"))
        code, events = await client.end()
        assert (code, [event["data"]["code"] for event in events]) == (1013, ["too_many_connections"])
    in_band = await bridge.connect(WS)
    await in_band.expect("hello")
    await in_band.say("authenticate", token=bridge.token(subject="ana"))
    assert (await in_band.end())[0] == 1013
    await first.leave()
    await eventually(lambda: bridge.streaming.admission.by_principal["ana"] == 1)
    await bridge.join(bridge.token(subject="ana"))


@pytest.mark.parametrize("query", ["device_ids=%23", "device_ids=B", "x=1", ""])
async def test_refused_streams_give_their_place_back(start: StartBridge, query: str) -> None:
    """A good token with a bad selection does not use up its subject's streams."""
    bridge = await start(max_connections_per_principal=1)
    for _ in range(3):
        client = await bridge.connect(f"/api/v1/stream?{query}", bridge.token("A"))
        assert (await client.end())[0] == 1008
        await bridge.wait_empty()
    await bridge.join(bridge.token("A"))


async def test_new_streams_per_second(start: StartBridge) -> None:
    """A burst of twice the rate, then 503 until the bucket has filled again."""
    clock = Clock(1000.0)
    bridge = await start(handshakes_per_second=5, monotonic=clock)
    statuses = []
    for _ in range(14):
        client = await bridge.raw()
        statuses.append((await client.request("GET", WS))[0])
    assert statuses == [101] * 10 + [503] * 4
    assert bridge.streaming.admission.refused["rate"] == 4
    clock.now += 0.25
    await bridge.join()


async def test_zero_means_no_limit(start: StartBridge) -> None:
    """Every cap can be switched off."""
    bridge = await start(
        max_connections=0, max_connections_per_ip=0, max_connections_per_principal=0, handshakes_per_second=0
    )
    await asyncio.gather(*(bridge.join() for _ in range(60)))
    assert bridge.streaming.admission.connections == 60
