"""Tokens that another service has made with the share key, on the wire."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from bridge.access.paseto import KeyRing, generate_key
from bridge.core.times import timestamp
from share.stream.tokens import AUDIENCE_SHARE
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import SHARE_KEY, STREAM, SharingBridge, seed
from tests.functional.stream.clients import Client
from tests.functional.stream.served import SECRETS
from tests.share_tokens import claims_at, footer_of, seal


def made(bridge: SharingBridge, footer: bytes | str = b"", key: str = SHARE_KEY, **changes: Any) -> str:
    """A token for ``truck-7`` from now on for ten minutes, with changes."""
    token = seal(claims_at(bridge.clock(), **changes), key, footer)
    SECRETS.add(token)
    return token


async def viewer(bridge: SharingBridge, token: str) -> tuple[Client, Any]:
    """A viewer that ``token`` has let in, and the share in its hello."""
    client = await bridge.view(token)
    hello = await client.expect("hello")
    return client, hello["share"]


async def shown(bridge: SharingBridge, client: Client, device_id: str = "truck-7", **position: Any) -> Any:
    """What the viewer sees of a position that comes now."""
    bridge.publish(seed(device_id, **position))
    event = await client.next()
    assert event is not None and event["event"] == "message"
    assert "truck" not in "".join(client.texts)
    return event


@pytest.mark.parametrize(
    "footer, changes",
    [
        (b"", {}),
        (footer_of(SHARE_KEY), {}),
        (b"made by the shop", {}),
        ('{"for":"the shop"}', {}),
        (b"", {"aud": AUDIENCE_SHARE}),
        (b"", {"jti": "4711", "sub": "order 4711", "iss": "shop"}),
        (b"", {"device_id": None, "device_ids": ["truck-7"]}),
    ],
    ids=["bare", "kid", "text footer", "JSON footer", "aud", "registered claims", "a list of one"],
)
async def test_foreign_token_opens_the_stream(
    bridge: SharingBridge, footer: bytes | str, changes: dict[str, Any]
) -> None:
    """With exp and a device, whatever else it says; the device is called Device, and its id stays here."""
    client, share = await viewer(bridge, made(bridge, footer, **changes))
    assert share == {
        "label": "", "starts_at": None, "ends_at": share["ends_at"], "devices": [{"alias": "Device"}],
        "destination": None, "end_on_arrival": False, "precision_m": 0.0, "delay_s": 0.0, "trail": 0,
    }  # fmt: skip
    assert (await shown(bridge, client, lat=1.25))["alias"] == "Device"
    bridge.publish(seed("truck-8"))
    assert await client.quiet() == []


async def test_foreign_token_is_taken_by_every_way_that_a_viewer_has(bridge: SharingBridge) -> None:
    """Header, query and subprotocol."""
    token = made(bridge)
    for client in (
        await bridge.connect(STREAM, token),
        await bridge.connect(f"{STREAM}?token={quote(token)}"),
        await bridge.connect(STREAM, protocols=("telemetry-bridge", f"bearer.{token}")),
    ):
        await client.expect("hello")


async def test_foreign_token_names_several_devices(bridge: SharingBridge) -> None:
    """Numbered in its order; nobody sees another's."""
    client, share = await viewer(bridge, made(bridge, device_id=None, device_ids=["truck-8", "truck-7"]))
    assert share["devices"] == [{"alias": "Device 1"}, {"alias": "Device 2"}]
    assert (await shown(bridge, client, "truck-7"))["alias"] == "Device 2"
    assert (await shown(bridge, client, "truck-8"))["alias"] == "Device 1"


async def test_foreign_token_narrows_what_is_shown(bridge: SharingBridge) -> None:
    """Fields, grid, trail, label and start are the maker's; what the position has beside them stays here."""
    start = timestamp(bridge.clock() - 60)
    token = made(bridge, fields=["speed_kmh"], precision_m=1000, trail=5, label="Order 4711", starts_at=start)
    client, share = await viewer(bridge, token)
    told = {"label": "Order 4711", "precision_m": 1000.0, "trail": 5, "starts_at": start}
    assert {name: share[name] for name in told} == told
    event = await shown(bridge, client, lat=1.234567, lon=-70.25)
    assert event["data"].keys() == {"lat", "lon", "speed_kmh"}
    assert event["data"]["lat"] != 1.234567 and abs(event["data"]["lat"] - 1.234567) < 0.01
    second, _ = await viewer(bridge, token)
    replayed = await second.next()
    assert replayed is not None and replayed["replay"] is True and replayed["data"] == event["data"]


async def test_foreign_token_delays_what_is_shown(bridge: SharingBridge) -> None:
    """What another viewer has seen by now, this one sees in an hour."""
    bridge.lingering = 1  # its room stays as long as its delay
    client, share = await viewer(bridge, made(bridge, delay_s=3600))
    assert share["delay_s"] == 3600.0
    await shown(bridge, (await viewer(bridge, made(bridge)))[0])
    assert await client.quiet() == []


async def test_nothing_from_before_the_start_of_a_foreign_token(bridge: SharingBridge) -> None:
    """Neither what was there when it came, nor what comes before its time."""
    bridge.publish(seed("truck-7", lat=1.0))
    client, _ = await viewer(bridge, made(bridge, starts_at=timestamp(bridge.clock() + 60)))
    bridge.publish(seed("truck-7", lat=2.0))
    assert await client.quiet() == []
    bridge.clock.advance(61)
    assert (await shown(bridge, client, lat=3.0))["data"]["lat"] == 3.0


async def test_foreign_token_ends_the_stream_on_time(bridge: SharingBridge) -> None:
    """``expired``, close 1000, and nothing after."""
    client, share = await viewer(bridge, made(bridge, exp=timestamp(bridge.clock() + 60)))
    bridge.clock.advance(61)
    bridge.streaming.deadlines.enforce()
    bridge.publish(seed("truck-7"))
    close_code, events = await client.end()
    assert close_code == 1000
    assert [(event["event"], event["data"]["expires_at"]) for event in events] == [("expired", share["ends_at"])]


async def test_next_foreign_token_prolongs_the_stream(bridge: SharingBridge) -> None:
    """By ``authenticate``, for the same grant; another kid, another jti or another order of fields is the same one."""
    client, share = await viewer(bridge, made(bridge, fields=["time", "speed_kmh"]))
    later = timestamp(bridge.clock() + 1200)
    token = made(bridge, footer_of(SHARE_KEY), fields=["speed_kmh", "time"], exp=later, jti="next")
    answer = await client.ask("authenticate", token=token)
    assert (answer["event"], answer["data"]["expires_at"]) == ("info", later)
    assert answer["data"]["share"]["ends_at"] == later != share["ends_at"]


async def test_viewers_of_equal_foreign_tokens_share_a_room(bridge: SharingBridge) -> None:
    """However many tokens were made, whatever they call it: one channel for the same grant, another for another."""
    clients = [(await viewer(bridge, made(bridge, jti=str(number))))[0] for number in range(5)]
    assert len(bridge.sharing.rooms) == 1
    client, share = await viewer(bridge, made(bridge, label="another"))
    assert (share["label"], len(bridge.sharing.rooms)) == ("another", 1)
    clients += [client, (await viewer(bridge, made(bridge, trail=7)))[0]]
    assert len(bridge.sharing.rooms) == 2
    bridge.publish(seed("truck-7"))
    for client in clients:
        await client.expect("message")


async def test_rotation_on_a_running_server(start: StartSharing) -> None:
    """A server with two share keys takes tokens of both, and gives its own under the first."""
    new = generate_key()
    SECRETS.add(new)
    bridge = await start(share_keys=f"{new},{SHARE_KEY}")
    for token in (made(bridge), made(bridge, footer_of(SHARE_KEY)), made(bridge, key=new)):
        await viewer(bridge, token)
    _, code = await bridge.share("truck-7")
    token = await bridge.token_of(code)
    await viewer(bridge, token)
    assert KeyRing([new]).open(token)
