"""What is not a proper request for a token: too large, too slow, broken, or another method."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from dataclasses import replace

import pytest

from share.api.public_routes import MAX_INIT_BYTES
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import INIT, QUICK, SharingBridge
from tests.functional.stream.served import eventually

BODIES: list[bytes] = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"1",
    b'"code"',
    b"{",
    b"code=%s",
    b'{"code":null}',
    b'{"code":1}',
    b'{"code":["%s"]}',
    b'{"code":{"$ne":null}}',
    b'{"code":"%s","password":1}',
    b'{"code":"%s","password":NaN}',
    b'{"code":"%s","password":Infinity}',
    b'{"code":"%s","password":[]}',
    b'{"code":"%s","extra":1}',
    b'{"code":"%s","code":"%s"}',
    b'{"code":"other","code":"%s"}',
    b'{"code":"%s","password":"a","password":"b"}',
    b'{"code":"%s"}{}',
    b'{"code":"%s",}',
    b"{'code':'%s'}",
    b'\xef\xbb\xbf{"code":"%s"}',
    b'{"code":"%s","password":"\xff"}',
    '{"code":"x"}'.encode("utf-16"),
    b'{"code":"%s","password":' + b"[" * 1500 + b"]" * 400 + b"}",
    b'{"code":"%s","password":' + b"9" * 1500 + b"}",
    b'{"code":"%s","password":1e999}',
    b"\x00" * 100,
]


async def send(
    bridge: SharingBridge, body: bytes, method: str = "POST", **headers: str | None
) -> tuple[int, str, bytes]:
    """Status, head and body of the answer to a request with exactly this body."""
    client = await bridge.raw()
    fields = {"Upgrade": None, "Connection": "close", "Content_Length": str(len(body)), **headers}
    status, head = await client.request(method, INIT, body, **fields)
    return status, head, await client.all_bytes()


def plain(**headers: str | None) -> dict[str, str | None]:
    """Headers of a request that is no upgrade, for RawClient.request."""
    return {"Upgrade": None, "Connection": None, **headers}


async def test_what_is_no_request(bridge: SharingBridge) -> None:
    """400 ``invalid_request`` that says what to send and echoes nothing; no field counts that stands there twice."""
    _, code = await bridge.share()
    for wrong in BODIES:
        status, head, body = await send(bridge, wrong.replace(b"%s", code.encode()))
        assert status == 400, wrong
        assert "Cache-Control: no-store" in head
        answer = json.loads(body)
        assert answer["code"] == "invalid_request"
        assert set(answer) == {"code", "message"}
        assert code not in answer["message"]
        assert len(body) < 200


async def test_lone_surrogate_is_no_code(bridge: SharingBridge) -> None:
    """An escape that is half a character is refused or unknown, and never a failure of ours."""
    for body in (b'{"code":"\\ud800"}', b'{"code":"x","password":"\\ud800"}'):
        assert (await send(bridge, body))[0] in {400, 404}
    _, code = await bridge.share(password="open sesame")
    assert (await send(bridge, b'{"code":"%s","password":"\\udfff"}' % code.encode()))[0] in {400, 403}


async def test_content_type_does_not_matter(bridge: SharingBridge) -> None:
    """The page sends JSON; so may a form's content type, since there is no cookie that it could ride on."""
    _, code = await bridge.share()
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        status, _, body = await send(bridge, b'{"code":"%s"}' % code.encode(), Content_Type=kind)
        assert status == 200
        assert b"Set-Cookie" not in body


async def test_body_above_the_limit(bridge: SharingBridge) -> None:
    """MAX_INIT_BYTES are read, one more is 413, however the body is sent."""
    fits = b'{"code":"x","password":"%s"}' % (b"p" * (MAX_INIT_BYTES - 26))
    assert len(fits) == MAX_INIT_BYTES
    for body, expected in ((fits, 404), (fits + b" ", 413), (b" " * 40_000, 413)):
        parts = (body[:1000], body[1000:], b"")
        chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        for status, head, _ in (
            await send(bridge, body),
            await send(bridge, chunked, Content_Length=None, Transfer_Encoding="chunked"),
        ):
            assert status == expected
            assert "Cache-Control: no-store" in head


async def test_announced_body_is_refused_before_it_comes(bridge: SharingBridge) -> None:
    """A client that announces too much is answered at once; what it sends all the same is thrown away."""
    client = await bridge.raw()
    status, _ = await client.request("POST", INIT, b"{", **plain(Content_Length="100000", Connection="close"))
    assert status == 413
    await client.send(b" " * 99_999)
    await client.all_bytes()
    assert client.ended == "eof"


async def test_body_that_does_not_come(start: StartSharing) -> None:
    """408 after ``body_seconds``; then the connection is closed: nobody holds one open by a byte now and then."""
    bridge = await start(limits=replace(QUICK, body_seconds=0.1))
    client = await bridge.raw()
    status, head = await client.request("POST", INIT, b"{", **plain(Content_Length="20"))
    assert status == 408
    assert "Cache-Control: no-store" in head
    assert b'"too_slow"' in await client.all_bytes()


async def test_client_that_goes_in_the_middle_of_its_body(
    start: StartSharing, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's mistake: no line in the log, and nothing left."""
    bridge = await start(limits=replace(QUICK, body_seconds=600.0))  # nobody waits so long for one that has gone
    for tail in (b"", b"{", b'{"code":"'):
        client = await bridge.raw()
        await client.send(f"POST {INIT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode() + tail)
        await eventually(bridge.strays)
        await client.leave()
        await eventually(lambda: not bridge.strays(), bridge.strays)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_compressed_bodies(
    bridge: SharingBridge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never unpacked, so a bomb costs nothing: 415, whatever is in them, and no ERROR of ours."""
    _, code = await bridge.share()
    good = gzip.compress(b'{"code":"%s"}' % code.encode())
    bomb = gzip.compress(b" " * 1_000_000)
    assert len(bomb) < MAX_INIT_BYTES
    with monkeypatch.context() as patch:
        patch.setattr(zlib, "decompressobj", None)
        for data in (good, bomb, b"not gzip at all"):
            status, head, body = await send(bridge, data, Content_Encoding="gzip")
            assert (status, json.loads(body)["code"]) == (415, "unsupported_media_type")
            assert "Cache-Control: no-store" in head
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_other_methods(bridge: SharingBridge) -> None:
    """405 that names POST: a code never stands in an address, and HEAD makes no token."""
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        status, head, body = await send(bridge, b"", method)
        assert status == 405
        assert "Allow: POST" in head
        assert not body or method != "HEAD"


async def test_pages_of_other_origins_get_no_permission_to_read(bridge: SharingBridge) -> None:
    """No CORS header, neither for the request nor for its preflight."""
    _, code = await bridge.share()
    for method, body in (("POST", b'{"code":"%s"}' % code.encode()), ("OPTIONS", b"")):
        _, head, _ = await send(
            bridge, body, method, Origin="https://evil.example", Access_Control_Request_Method="POST"
        )
        assert "access-control" not in head.lower()
