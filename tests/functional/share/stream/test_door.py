"""The way into a public stream: where the token may stand, and who is turned away."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from bridge.core.times import timestamp
from share.stream.session import ADVICE
from share.stream.tokens import mint
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import SHARE_RING, STREAM, SharingBridge, seed
from tests.functional.stream.clients import Client
from tests.functional.stream.served import SECRETS


async def refused(client: Client) -> tuple[int | None, str]:
    """Close code and error code of a stream that does not begin."""
    code, events = await client.end()
    assert [event["event"] for event in events] == ["error"]
    assert events[0]["data"]["message"] == ADVICE.get(events[0]["data"]["code"], events[0]["data"]["message"])
    return code, events[0]["data"]["code"]


async def test_token_in_every_place(bridge: SharingBridge) -> None:
    """As a parameter, as a subprotocol, or as a header; the same one in several is fine."""
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    authorization = {"Authorization": f"Bearer {token}"}
    for path, options in (
        (f"{STREAM}?token={quote(token)}", {}),
        (STREAM, {"headers": authorization}),
        (STREAM, {"protocols": ["telemetry-bridge", f"bearer.{token}"]}),
        (f"{STREAM}?token={token}&token={token}", {"headers": authorization}),
        (f"{STREAM}?token=", {"headers": authorization}),
    ):
        client = await bridge.connect(path, **options)
        assert (await client.expect("hello"))["share"]["devices"] == [{"alias": "Van 1"}]


async def test_subprotocol_that_is_chosen_is_ours(bridge: SharingBridge) -> None:
    """``telemetry-bridge`` wherever it stands in the list; the token is never sent back."""
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    for offered in (f"telemetry-bridge, bearer.{token}", f"bearer.{token}, telemetry-bridge", f"bearer.{token}, other"):
        client = await bridge.raw()
        status, head = await client.request("GET", STREAM, Sec_WebSocket_Protocol=offered)
        assert status == 101
        assert token not in head
        lines = head.lower().split("\r\n")
        assert ("sec-websocket-protocol: telemetry-bridge" in lines) == ("telemetry-bridge" in offered)
        assert head.lower().count("sec-websocket-protocol") == offered.count("telemetry-bridge")
        taken = await client.frame()
        assert taken is not None and b'"hello"' in taken[1]


async def test_cookie_of_an_operator_is_not_looked_at(bridge: SharingBridge) -> None:
    """Who manages shares opens a link like everybody else; their cookie alone opens nothing here."""
    _, code = await bridge.share()
    cookies = {"telemetry_bridge_token": bridge.token("*", scopes=["stream", "share", "admin"])}
    client = await bridge.connect(f"{STREAM}?token={await bridge.token_of(code)}", cookies=cookies)
    await client.expect("hello")
    assert await refused(await bridge.connect(STREAM, cookies=cookies)) == (1008, "token_required")


async def test_two_different_tokens(bridge: SharingBridge) -> None:
    """Each part of a chain of proxies could pick another: neither counts."""
    _, code = await bridge.share()
    first, second = await bridge.token_of(code), await bridge.token_of(code)
    assert await refused(await bridge.connect(f"{STREAM}?token={first}", second)) == (1008, "token_invalid")
    client = await bridge.connect(f"{STREAM}?token={first}&token={second}")
    assert await refused(client) == (1008, "invalid_parameter")


async def test_parameters_that_are_not_known(bridge: SharingBridge) -> None:
    """Refused by position and closed: a viewer cannot choose devices, nor how much waits for them."""
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    for query in ("device_ids=B", "overflow=disconnect", "snapshot=false", "groups=*", "x=%0a", "code=" + code):
        client = await bridge.connect(f"{STREAM}?token={token}&{query}")
        assert await refused(client) == (1008, "unknown_parameter")
        assert code not in client.texts[0]


async def test_tokens_that_open_nothing(bridge: SharingBridge) -> None:
    """Each gets one error that says why, and 1008; it reveals nothing else of the server."""
    share, code = await bridge.share()
    upcoming, _ = await bridge.share(since=60)
    ended, _ = await bridge.share(ttl=30)
    revoked, revoked_code = await bridge.share()
    good, of_revoked = await bridge.token_of(code), await bridge.token_of(revoked_code)
    await bridge.sharing.links.revoke(revoked)
    now = bridge.clock()

    def token(share_id: str, start: float = 0.0, ttl: float = 60.0) -> str:
        made = mint(SHARE_RING, share_id, expires_at=now + start + ttl, now=now + start)
        SECRETS.add(made)
        return made

    for given, expected in (
        (None, "token_required"),
        ("nonsense", "token_invalid"),
        (code, "token_invalid"),
        (good[:-2], "token_invalid"),
        (good + "A", "token_invalid"),
        (f"{good[:30]}{'A' if good[30] != 'A' else 'B'}{good[31:]}", "token_invalid"),
        (bridge.token("*"), "token_invalid"),
        ("v4.local." + "A" * 2500, "token_invalid"),
        (token(share.id, -100), "token_expired"),
        (token(share.id, 100), "token_not_yet_valid"),
        (token(upcoming.id), "share_closed"),
        (token("ffffffffffff"), "share_closed"),
        (of_revoked, "share_closed"),
    ):
        client = await bridge.connect(STREAM, given)
        assert await refused(client) == (1008, expected)
        assert "Van" not in client.texts[0]
    bridge.clock.advance(31)
    assert await refused(await bridge.connect(STREAM, token(ended.id))) == (1008, "share_closed")
    bridge.streaming.deadlines.enforce()
    await bridge.wait_empty()


async def test_share_token_opens_nothing_else(bridge: SharingBridge) -> None:
    """The fleet's endpoints do not know it: another key."""
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    for path in ("/api/v1/ws", "/api/v1/stream?device_ids=A"):
        client = await bridge.connect(path, token)
        end, events = await client.end()
        assert (end, events[0]["data"]["code"]) == (1008, "token_invalid")
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as http, http.get(bridge.url("/api/v1/shares"), headers=headers) as response:
        assert response.status == 401


async def test_hello_tells_what_init_told_but_for_positions(bridge: SharingBridge) -> None:
    """The same share, whatever the viewer's way in; the token's end beside it."""
    _, code = await bridge.share("truck-7", label="Ann", trail=3)
    bridge.publish(seed("truck-7"))
    _, answer = await bridge.init(code)
    hello = await (await bridge.view(answer["token"])).expect("hello")
    assert hello["protocol"] == 1
    assert hello["heartbeat_seconds"] == bridge.settings.heartbeat_seconds
    assert hello["expires_at"] == answer["expires_at"]
    told = answer["share"]
    for device in told["devices"]:
        assert device.pop("position")["lat"] == 1.5
    assert hello["share"] == told


async def test_without_an_upgrade(bridge: SharingBridge) -> None:
    """426 for a plain GET, token or none; other methods are 405, HEAD among them."""
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    async with aiohttp.ClientSession() as http:
        for path in (STREAM, f"{STREAM}?token={token}"):
            async with http.get(bridge.url(path)) as response:
                assert response.status == 426
                assert response.headers["Upgrade"] == "websocket"
                assert token not in await response.text()
        for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            async with http.request(method, bridge.url(STREAM)) as response:
                assert response.status == 405


@pytest.mark.parametrize("public_url", ["", "https://track.example.org"])
async def test_pages_of_other_origins(start: StartSharing, public_url: str) -> None:
    """403 before the upgrade, unless it is the page of this server; a program sends no Origin and comes in."""
    bridge = await start(public_url=public_url)
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    own = public_url or f"http://127.0.0.1:{bridge.port}"
    await (await bridge.connect(STREAM, token, headers={"Origin": own})).expect("hello")
    for origin in ("https://evil.example", "null", f"{own}.evil.example", f"{own}:1", "http://127.0.0.1:1", ""):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await bridge.connect(STREAM, token, headers={"Origin": origin})
        assert caught.value.status == 403


async def test_upgrades_that_are_none(bridge: SharingBridge) -> None:
    """400, or 426 where another version is asked for, and no place in the room is taken."""
    share, code = await bridge.share(max_viewers=1)
    token = await bridge.token_of(code)
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Version": "12"}, 426),
        ({"Connection": "keep-alive"}, 400),
    ]
    for headers, expected in wrong:
        client = await bridge.raw()
        status, _ = await client.request("GET", STREAM, Authorization=f"Bearer {token}", **headers)
        assert status == expected
    assert bridge.sharing.links.viewers(share.id) == 0
    await (await bridge.view(token)).expect("hello")


async def test_token_that_lives_longer_than_shares_may(start: StartSharing) -> None:
    """Whoever made it: SHARE_MAX_DAYS bounds what cannot be called back."""
    bridge = await start(share_max_days=1)
    now = bridge.clock()

    def foreign(seconds: float) -> str:
        claims = f'{{"device_id":"A","iat":"{timestamp(now)}","exp":"{timestamp(now + seconds)}"}}'
        made = SHARE_RING.seal(claims.encode())
        SECRETS.add(made)
        return made

    await (await bridge.view(foreign(86_399))).expect("hello")
    assert await refused(await bridge.view(foreign(86_401))) == (1008, "token_invalid")
