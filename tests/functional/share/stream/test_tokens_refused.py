"""Every token that the public stream must not take, on the wire: told why, closed with 1008, nothing left behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote

import aiohttp
import pytest

from bridge.access.authenticator import mint as mint_access
from bridge.access.paseto import KeyRing
from bridge.core.limits import MAX_TOKEN_BYTES
from share.stream.tokens import mint
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import SHARE_KEY, SHARE_RING, STREAM, SharingBridge
from tests.functional.stream.clients import Client
from tests.functional.stream.served import RING as ACCESS_RING
from tests.functional.stream.served import SECRETS, eventually
from tests.share_tokens import ACCESS_KEY, INVALID, claims_at, footer_of, seal, wrong_claims
from tests.tokens import SECRET_KEY, b64

NOT_MADE_UP = 40
"""Characters of a token from which on it is looked for in the log; a shorter text is no secret."""


async def refused(bridge: SharingBridge, token: str, name: str = "") -> str:
    """The code with which the public stream refuses ``token``: one error event, the close code 1008, and no more."""
    if len(token) >= NOT_MADE_UP:
        SECRETS.add(token)
    client = await bridge.connect(f"{STREAM}?token={quote(token)}")
    return await outcome(client, token, name)


async def outcome(client: Client, token: str, name: str = "") -> str:
    """The same for a client that has just connected. Nothing of the token is echoed."""
    close_code, events = await client.end()
    await client.leave()
    assert (close_code, [event["event"] for event in events]) == (1008, ["error"]), (name, events)
    told = "".join(client.texts)
    assert not any(token[start : start + 12] in told for start in range(9, len(token) - 12, 12)), name
    code: str = events[0]["data"]["code"]
    return code


@pytest.fixture
def unlimited() -> dict[str, int]:
    """So many come from one address here that the limits for one would answer."""
    return {"public_requests_per_minute": 0, "handshakes_per_second": 0, "max_connections_per_ip": 0}


def malformed(now: float) -> Iterator[tuple[str, str]]:
    """Texts that are no v4.local token of the share key, by name."""
    genuine = seal(claims_at(now), SHARE_KEY)
    ours = mint(SHARE_RING, "0123456789ab", expires_at=now + 600, now=now)
    body = genuine.removeprefix("v4.local.")
    yield "v4.local. and nothing", "v4.local."
    yield "three segments", f"v4.{body}.{body[:20]}"
    yield "five segments", f"{ours}.{body[:20]}"
    for version in (1, 2, 3, 5):
        yield f"v{version}.local", f"v{version}.local.{body}"
    yield "v4.public of our bytes", f"v4.public.{body}"
    yield "v4.public, genuine", KeyRing([SECRET_KEY]).seal(b'{"device_id":"truck-7","exp":"2099-01-01T00:00:00Z"}')
    yield "JWT", "eyJhbGciOiJIUzI1NiJ9.eyJkZXZpY2VfaWQiOiJ0cnVjay03In0.c2lnbmF0dXJl"
    yield "not ASCII", f"{genuine[:-1]}é"
    yield "padding", f"{genuine}="
    yield "junk inside", f"{genuine[:50]}!!!!{genuine[50:]}"
    yield "a changed tag", genuine[:-2] + ("AA" if genuine[-2:] != "AA" else "QQ")
    yield "a changed header", f"V4{genuine[2:]}"
    yield "without its footer", ours.rpartition(".")[0]
    yield "another footer", ours.rpartition(".")[0] + "." + b64(b'{"kid":"../../etc/passwd"}')
    yield "a footer that it has not", f"{genuine}.{b64(b'x')}"
    yield "too long", "v4.local." + "A" * (MAX_TOKEN_BYTES - 8)
    yield "a key", SHARE_KEY
    yield "an access key's", seal(claims_at(now), ACCESS_KEY)
    yield "an access key's with our kid", seal(claims_at(now), ACCESS_KEY, footer_of(SHARE_KEY))
    for kid in ("unknown", "../../etc/passwd", "' OR 1=1 --", "x" * 400):
        yield f"kid {kid:.20}", seal(claims_at(now), SHARE_KEY, f'{{"kid":"{kid}"}}')
    yield "a footer of 600 bytes", seal(claims_at(now), SHARE_KEY, b"x" * 600)


async def test_claims_that_are_not_right_close_the_stream(start: StartSharing, unlimited: dict[str, int]) -> None:
    """All of the table, each under a genuine seal, with the code that tells the client what to do."""
    bridge = await start(**unlimited)
    for name, (payload, code) in wrong_claims(bridge.clock()).items():
        assert await refused(bridge, seal(payload, SHARE_KEY), name) == code, name


async def test_what_is_no_share_token_closes_the_stream(
    start: StartSharing, unlimited: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong versions, purposes, keys, kids, segments, lengths, changed letters. Each is one line in the log."""
    bridge = await start(**unlimited)
    table = dict(malformed(bridge.clock()))
    with caplog.at_level(logging.INFO):
        for name, token in table.items():
            assert await refused(bridge, token, name) == INVALID, name
        # The line comes when the server has read the goodbye.
        await eventually(lambda: sum("token_invalid" in record.getMessage() for record in caplog.records) == len(table))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_none_at_all_is_told_apart(bridge: SharingBridge) -> None:
    """Nothing, an empty one, and an operator's cookie, which is not looked at here."""
    for client in (
        await bridge.connect(STREAM),
        await bridge.connect(f"{STREAM}?token="),
        await bridge.connect(STREAM, cookies={"telemetry_bridge_token": bridge.token("truck-7")}),
    ):
        assert await outcome(client, "") == "token_required"


async def test_tokens_of_the_two_streams_do_not_open_each_other(bridge: SharingBridge) -> None:
    """An access token here, share tokens there, and both again with the other's claims."""
    now = bridge.clock()
    for access in (
        bridge.token("truck-7", scopes=("stream", "share", "admin")),
        mint_access(SHARE_RING, subject="x", devices=["*"], groups=(), scopes=["admin"], ttl=600, now=now),
    ):
        assert await refused(bridge, access) == INVALID
    _, code = await bridge.share("truck-7")
    both = {"sub": "x", "devices": ["*"], "scope": ["stream"]}
    for token in (
        await bridge.token_of(code),
        seal(claims_at(now, **both), SHARE_KEY),
        seal(claims_at(now, **both, aud="telemetry-bridge"), SHARE_KEY),
        mint(ACCESS_RING, "0123456789ab", expires_at=now + 600, now=now),
    ):
        SECRETS.add(token)
        for path in ("/api/v1/stream?device_ids=truck-7", "/api/v1/stream?device_ids=*"):
            assert await outcome(await bridge.connect(path, token), token) == INVALID


async def test_token_of_a_share_that_is_not_open_is_told_apart(bridge: SharingBridge) -> None:
    """Genuine, but its share was revoked, has not begun, or never was."""
    now = bridge.clock()
    share, _ = await bridge.share("truck-7")
    upcoming, _ = await bridge.share("truck-7", since=600.0)
    await bridge.sharing.links.revoke(share)
    for share_id in (share.id, upcoming.id, "0123456789ab", "../../etc/passwd", "' OR 1=1 --", "x" * 256):
        assert (
            await refused(bridge, seal(claims_at(now, device_id=None, share_id=share_id), SHARE_KEY)) == "share_closed"
        )


async def test_two_tokens_are_none(bridge: SharingBridge) -> None:
    """Which of two counts, nobody could say; the same one twice is one."""
    first, second = (seal(claims_at(bridge.clock()), SHARE_KEY) for _ in range(2))
    SECRETS.update({first, second})
    client = await bridge.connect(f"{STREAM}?token={first}", second)
    assert await outcome(client, first) == INVALID
    client = await bridge.connect(f"{STREAM}?token={first}&token={second}")
    assert await outcome(client, first) == "invalid_parameter"
    client = await bridge.connect(f"{STREAM}?token={first}&token={first}", first)
    await client.expect("hello")


async def test_megabyte_is_refused_before_the_upgrade(bridge: SharingBridge) -> None:
    """In the address and in a header: an HTTP status of refusal, never an upgrade and never a 500."""
    huge = "v4.local." + "A" * (1 << 20)
    for path, token in ((f"{STREAM}?token={huge}", None), (STREAM, huge)):
        # Or the server closes while the megabyte is on its way.
        with pytest.raises((aiohttp.WSServerHandshakeError, aiohttp.ClientConnectionError)) as caught:
            await bridge.connect(path, token)
        assert getattr(caught.value, "status", 400) in range(400, 500)


async def test_bad_token_for_later_leaves_the_stream_as_it_was(bridge: SharingBridge) -> None:
    """``authenticate`` answers with the code; the first token goes on to count, and the end is the first one's."""
    now = bridge.clock()
    client = await bridge.connect(f"{STREAM}?token={seal(claims_at(now), SHARE_KEY)}")
    until = (await client.expect("hello"))["expires_at"]
    for token, code in (
        ("v4.local.", INVALID),
        ("A" * 2049, "invalid_field"),
        (seal(claims_at(now, exp="2020-01-01T00:00:00Z"), SHARE_KEY), "token_expired"),
        (seal(claims_at(now), ACCESS_KEY), INVALID),
        (bridge.token("truck-7"), INVALID),
        (seal(claims_at(now, device_id="truck-8"), SHARE_KEY), "subject_changed"),
        (seal(claims_at(now, precision_m=100), SHARE_KEY), "subject_changed"),
    ):
        SECRETS.update({token} if len(token) >= NOT_MADE_UP else ())
        answer = await client.ask("authenticate", token=token)
        assert (answer["event"], answer["data"]["code"]) == ("error", code)
    assert (await client.ask("info"))["data"]["expires_at"] == until
