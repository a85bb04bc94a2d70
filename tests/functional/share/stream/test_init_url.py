"""Where ``init`` says that the stream is."""

from __future__ import annotations

import pytest

from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import INIT, STREAM, SharingBridge
from tests.functional.share.stream.test_init import post


@pytest.mark.parametrize(
    "public_url,expected",
    [("https://track.example.org", "wss://track.example.org"), ("http://10.0.0.7:8080", "ws://10.0.0.7:8080")],
)
async def test_stream_url_behind_a_proxy(start: StartSharing, public_url: str, expected: str) -> None:
    """PUBLIC_URL counts, whatever the Host header says."""
    bridge = await start(public_url=public_url)
    _, code = await bridge.share()
    for host in ("evil.example", "a b", "track.example.org"):
        assert (await post(bridge, {"code": code}, Host=host))[1]["stream_url"] == f"{expected}{STREAM}"


async def test_stream_url_by_the_host_that_was_asked(bridge: SharingBridge) -> None:
    """Without PUBLIC_URL it is where the page came from; what is claimed of a proxy is not believed."""
    _, code = await bridge.share()
    for host in ("x.example:8080", "[::1]:81", "10.1.2.3"):
        claims = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
        status, answer, _ = await post(bridge, {"code": code}, Host=host, **claims)
        assert status == 200
        assert answer["stream_url"] == f"ws://{host}{STREAM}"


async def test_host_that_is_none(bridge: SharingBridge) -> None:
    """400 that does not echo it; no token goes out with an address that leads elsewhere."""
    _, code = await bridge.share()
    body = f'{{"code":"{code}"}}'.encode()
    plain = {"Upgrade": None, "Connection": "close", "Content_Length": str(len(body))}
    for host in ("a b", "[::1", "x/y", "user@x", "x:99999", "x,y", "b\xfccher", '"', "x?y", "x#y", ""):
        client = await bridge.raw()
        status, _ = await client.request("POST", INIT, body, **{**plain, "Host": host})
        answer = await client.all_bytes()
        assert status == 400, host
        assert b"v4.local" not in answer
        assert not host or f" {host} ".encode() not in answer
