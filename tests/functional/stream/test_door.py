"""Before a stream begins: the upgrade request, its origin and its parameters."""

from __future__ import annotations

import contextlib

import aiohttp
import pytest

from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.served import Bridge, eventually

STREAM = "/api/v1/stream?device_ids=A"
PATHS = [STREAM, "/api/v1/ws"]


@pytest.mark.parametrize("path", PATHS)
async def test_plain_get_is_told_to_upgrade(bridge: Bridge, path: str) -> None:
    """426 with words for the one whose proxy has eaten the headers; no token is looked at."""
    async with aiohttp.ClientSession() as http, http.get(bridge.url(path)) as answer:
        assert answer.status == 426
        assert answer.headers["Upgrade"] == "websocket"
        text = await answer.text()
    assert "WebSocket" in text
    assert "proxy" in text


@pytest.mark.parametrize(
    "headers,status",
    [
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": "!" * 24}, 400),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Sec_WebSocket_Version": "12"}, 426),
        ({"Upgrade": "foo, websocket"}, 101),
        ({"Connection": None}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Upgrade": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Upgrade": "WebSocket"}, 101),
        ({"Connection": "keep-alive, Upgrade"}, 101),
        ({"Sec_WebSocket_Extensions": "permessage-deflate; x=1, nonsense"}, 101),
        ({"Sec_WebSocket_Protocol": "chat, , x"}, 101),
    ],
)
async def test_upgrade_is_held_to_the_rules(bridge: Bridge, headers: dict[str, str | None], status: int) -> None:
    """What RFC 6455 section 4.2.1 asks of a request; a refused one leaves nothing counted."""
    client = await bridge.raw()
    got, head = await client.request("GET", STREAM, b"", Authorization=f"Bearer {bridge.token()}", **headers)
    assert got == status, head
    assert "Sec-WebSocket-Extensions" not in head
    if status != 101:
        await eventually(lambda: not bridge.remains(), bridge.remains)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_other_methods_are_refused(bridge: Bridge, method: str) -> None:
    """An upgrade by POST, with or without a body, is none."""
    for body in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"):
        client = await bridge.raw()
        status, _ = await client.request(method, STREAM, body, Content_Length=str(len(body)))
        assert status in (400, 405)


async def test_body_of_an_upgrade_is_no_second_request(bridge: Bridge) -> None:
    """A request hidden behind an upgrade is never answered as one (CVE-2026-69243)."""
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    framings: list[dict[str, str | None]] = [{"Content_Length": str(len(hidden))}, {"Transfer_Encoding": "chunked"}, {}]
    for headers in framings:
        client = await bridge.raw()
        assert (await client.request("GET", "/api/v1/ws", hidden, **headers))[0] == 400
        assert b"alive" not in await client.all_bytes()
    for headers in framings[:2]:
        client = await bridge.raw()
        assert (await client.request("GET", "/api/v1/ws", hidden, Sec_WebSocket_Key=None, **headers))[0] == 400
        with contextlib.suppress(TimeoutError):  # it may be kept for the next request
            while await client.receive(0.1):
                pass
        assert b"alive" not in client.buffer


async def test_frames_sent_with_the_request_are_refused(bridge: Bridge) -> None:
    """A client waits for the answer before it sends (RFC 6455 section 4.1): what came before would be lost."""
    client = await bridge.raw()
    ping = b'\x81\x91\0\0\0\0{"action":"ping"}'
    status, _ = await client.request("GET", "/api/v1/ws", ping, Authorization=f"Bearer {bridge.token()}")
    assert status == 400
    assert b"pong" not in await client.all_bytes()


ORIGINS = [
    (None, 101),
    ("https://app.example.com", 101),
    ("HTTPS://APP.example.com", 101),
    ("http://127.0.0.1:{port}", 403),  # PUBLIC_URL is the own origin
    ("https://public.example.com", 101),
    ("https://app.example.com.evil.net", 403),
    ("https://evil-app.example.com", 403),
    ("https://x.app.example.com", 403),
    ("https://app.example.com:8443", 403),
    ("http://app.example.com", 403),
    ("https://app.example.com/", 403),
    ("http://127.0.0.1", 403),
    ("http://127.0.0.1:{port}@evil.net", 403),
    ("null", 403),
    ("", 403),
    ("file://", 403),
    ("*", 403),
]


@pytest.mark.parametrize("origin,status", ORIGINS)
@pytest.mark.parametrize("path", PATHS)
async def test_origin_decides_before_the_upgrade(
    start: StartBridge, path: str, origin: str | None, status: int
) -> None:
    """Allowed pages, the own origin and programs come in; every other page gets 403, token or not."""
    bridge = await start(allowed_origins="https://app.example.com", public_url="https://public.example.com")
    client = await bridge.raw()
    origin = origin and origin.format(port=bridge.port)
    token = f"Bearer {bridge.token()}"
    got, head = await client.request("GET", path, Origin=origin, Authorization=token)
    assert got == status
    assert ("Sec-WebSocket-Accept" in head) == (status == 101)


@pytest.mark.parametrize(
    "query,code",
    [
        ("", "device_ids_required"),
        ("device_ids=", "device_ids_required"),
        ("device_ids=,%20,", "device_ids_required"),
        ("groups=", "device_ids_required"),
        ("device_ids=A&devices=B", "unknown_parameter"),
        ("device_ids=A&Snapshot=true", "unknown_parameter"),
        ("device_ids=A&overflow=none", "invalid_parameter"),
        ("device_ids=A&overflow=", "invalid_parameter"),
        ("device_ids=A&snapshot=maybe", "invalid_parameter"),
        ("device_ids=A,%2B", "invalid_device_id"),
        ("device_ids=%23", "invalid_device_id"),
        ("device_ids=A%00", "invalid_device_id"),
        ("device_ids=..%2FA", "invalid_device_id"),
        ("device_ids=%252A", "not_allowed"),
        ("device_ids=A*", "invalid_device_id"),
        ("device_ids=" + "x" * 65, "invalid_device_id"),
        ("device_ids=" + ",".join(f"d{number}" for number in range(1001)), "too_many_device_ids"),
        ("device_ids=B", "not_allowed"),
        ("groups=B", "not_allowed"),
    ],
)
async def test_bad_selection_is_told_and_closed(bridge: Bridge, query: str, code: str) -> None:
    """The socket is opened so that a browser can see why: one error event, then 1008, and no hello."""
    client = await bridge.connect(f"/api/v1/stream?{query}", bridge.token("A"))
    closed_with, events = await client.end()
    assert [event["event"] for event in events] == ["error"]
    assert events[0]["data"]["code"] == code
    assert closed_with == 1008


@pytest.mark.parametrize("query", ["device_ids=A", "overflow=none", "x=1"])
async def test_ws_takes_no_selection_in_the_url(bridge: Bridge, query: str) -> None:
    """``/ws`` selects in-band; what its URL cannot say is refused, not ignored."""
    client = await bridge.connect(f"/api/v1/ws?{query}", bridge.token())
    assert (await client.end())[0] == 1008


@pytest.mark.parametrize(
    "query,expected",
    [
        ("device_ids=A,B&device_ids=A,C", ["A", "B", "C"]),
        ("device_ids=A,,A,%20B%2CC", ["A", "B", "C"]),
        ("device_ids=e%CC%81", ["é"]),
        ("device_ids=a+b", ["a b"]),
        ("device_ids=%EF%BC%8A", ["＊"]),
        ("device_ids=*,A", ["A", "*"]),
    ],
)
async def test_device_ids_are_read_once_and_kindly(bridge: Bridge, query: str, expected: list[str]) -> None:
    """Repeated, listed, blank and decomposed ids become a plain set of names."""
    client = await bridge.connect(f"/api/v1/stream?{query}", bridge.token("*"))
    await client.expect("hello")
    assert (await client.expect("subscribed"))["device_ids"] == expected


async def test_head_that_is_too_long_is_refused(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """A URL or a header of 9 KB, and what is no HTTP at all, is answered with 400 and not with a line in the log."""
    for path, cookie in ((f"{STREAM}&token={'x' * 9000}", "a=b"), (STREAM, "x" * 9000), ("x y", "a=b")):
        client = await bridge.raw()
        assert (await client.request("GET", path, Cookie=cookie))[0] == 400
    client = await bridge.raw()
    await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert (await client.response())[0] == 400
    assert caplog.text == ""
