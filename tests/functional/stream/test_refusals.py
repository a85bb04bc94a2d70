"""What the operator learns of those who were not let in."""

from __future__ import annotations

import re
import socket
import struct

import pytest

from bridge.access.client_address import plain_ip
from bridge.access.paseto import KeyRing, generate_key
from bridge.app import Limits
from bridge.server.limits import ServerLimits
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.served import SECRETS, Bridge, eventually

STREAM = "/api/v1/stream?device_ids=A"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def last_words(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> str:
    """The line that the end of the only stream left in the log."""
    await bridge.wait_empty()
    await eventually(lambda: "ended: " in caplog.text)
    return caplog.text[caplog.text.index("ended: ") :].splitlines()[0]


@pytest.mark.parametrize(
    "case, reason",
    [
        ("none", "token_required"),
        ("expired", "token_expired: exp has passed"),
        ("early", "token_not_yet_valid: iat is in the future"),
        ("stranger", "token_invalid: kid names no key that we have"),
        ("scope", "scope_missing: of 'ana'"),
        ("two", "token_invalid: more than one credential, and they differ"),
    ],
)
@pytest.mark.parametrize("in_band", [False, True])
async def test_why_a_credential_was_refused_is_logged(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, case: str, reason: str, in_band: bool
) -> None:
    """Code and detail, which the client is not told, and never the token."""
    stranger = KeyRing([generate_key()]).seal(b'{"sub":"x","exp":"2999-01-01T00:00:00Z"}')
    SECRETS.add(stranger)
    tokens = {
        "expired": bridge.token(ttl=60, since=-61),
        "early": bridge.token(since=3000),
        "stranger": stranger,
        "scope": bridge.token(subject="ana", scopes=["share"]),
    }
    token = tokens.get(case, bridge.token() if case == "two" else None)
    if in_band and case not in ("two", "none"):
        client = await bridge.connect("/api/v1/ws")
        await client.expect("hello")
        await client.say("authenticate", token=token)
    else:
        extra = f"&token={bridge.token(subject='other')}" if case == "two" else ""
        client = await bridge.connect(STREAM + extra, token)
    assert (await client.end())[0] == 1008
    assert f"ended: credential refused (1008), {reason}, after" in await last_words(bridge, caplog)


async def test_valid_token_that_asks_for_too_much_is_logged_with_its_subject(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Who tries devices of others can be found in the log; nothing else of them is kept."""
    client = await bridge.connect("/api/v1/stream?device_ids=B", bridge.token("A", subject="ana"))
    assert (await client.end())[0] == 1008
    assert "selection refused (1008), not_allowed, after" in await last_words(bridge, caplog)
    assert "of 'ana' from 127.0.0.1 ended" in caplog.text
    assert bridge.remains() == {}


async def test_too_many_streams_of_a_subject_name_it(start: StartBridge, caplog: pytest.LogCaptureFixture) -> None:
    """The line says whose they are."""
    bridge = await start(max_connections_per_principal=1)
    await bridge.join(bridge.token(subject="ana"))
    client = await bridge.connect(STREAM, bridge.token(subject="ana"))
    assert (await client.end())[0] == 1013
    await eventually(lambda: "too_many_connections: of 'ana'" in caplog.text)


async def test_refused_pages_are_counted_and_told_once_a_minute(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """A page under attack, or forgotten in the settings: one line with its origin, all of them in the stats."""
    for number in range(5):
        client = await bridge.raw()
        origin = f"https://evil-{number}.example/\x85{'x' * 500}"
        assert (await client.request("GET", STREAM, Origin=origin))[0] == 403
    assert bridge.streaming.admission.refused["origin"] == 5
    lines = [record.getMessage() for record in caplog.records if record.name == "bridge.stream.endpoints"]
    assert len(lines) == 1
    assert "Web pages refused: 1 " in lines[0]
    assert "https://evil-0.example" in lines[0]
    assert "BRIDGE_ALLOWED_ORIGINS" in lines[0]
    assert len(lines[0]) < 400


async def test_full_server_says_so_once(start: StartBridge, caplog: pytest.LogCaptureFixture) -> None:
    """Each cause has its own line and names its setting."""
    bridge = await start(max_connections=1)
    await bridge.join()
    for _ in range(5):
        client = await bridge.raw()
        assert (await client.request("GET", STREAM))[0] == 503
    lines = [record.getMessage() for record in caplog.records if record.name == "bridge.stream.endpoints"]
    assert len(lines) == 1
    assert re.search(r"Streams refused: 1 .*\(full\).*BRIDGE_MAX_CONNECTIONS", lines[0])


@pytest.mark.parametrize("address, plain", [("::ffff:192.0.2.7", "192.0.2.7"), ("::1", "::1"), ("::ffff:1", "::ffff:1"),
    ("192.0.2.7", "192.0.2.7"), (None, "")])  # fmt: skip
def test_mapped_address_is_its_ipv4_address(address: str | None, plain: str) -> None:
    """A listener on :: sees IPv4 clients as IPv6; caps and trusted proxies know them by their own address."""
    assert plain_ip(address) == plain


async def test_client_that_is_gone_before_the_upgrade_is_no_error(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """A crowd that gives up while it waits to be accepted would otherwise be a traceback each."""
    for _ in range(20):
        client = await bridge.raw()
        await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n" % STREAM.encode() + UPGRADE)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye
        await client.leave()
    await bridge.wait_empty()
    assert all(record.levelname == "INFO" for record in caplog.records), caplog.text


# --- parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, code, told",
    [
        ("device_ids=A&overflow=latest&overflow=disconnect", "invalid_parameter", "overflow must be given once"),
        ("device_ids=A&snapshot=1&snapshot=1", "invalid_parameter", "snapshot must be given once"),
        ("device_ids=A&token=a&token=b", "invalid_parameter", "token must be given once"),
        (
            "device_ids=A&device_id=B",
            "unknown_parameter",
            "number 2 `device_id` is not known; did you mean device_ids?",
        ),
        ("deviceIds=A", "unknown_parameter", "number 1 `deviceIds` is not known; did you mean device_ids?"),
        ("Snapshot=1", "unknown_parameter", "did you mean snapshot?"),
        ("device_ids=A&zzz=1", "unknown_parameter", "number 2 `zzz` is not known; known are device_ids, groups, "),
        ("%1b%5bm=1", "unknown_parameter", "number 1 is not known"),
        ("x" * 33 + "=1", "unknown_parameter", "number 1 is not known"),
        ("x" * 32 + "=1", "unknown_parameter", f"`{'x' * 32}`"),
    ],
)
async def test_wrong_parameter_is_explained(bridge: Bridge, query: str, code: str, told: str) -> None:
    """Which one it is and what was meant; of what a stranger wrote no more than a short printable name."""
    client = await bridge.connect(f"/api/v1/stream?{query}", bridge.token("A"))
    closed_with, events = await client.end()
    assert (closed_with, [event["data"]["code"] for event in events]) == (1008, [code])
    assert told in events[0]["data"]["message"]


async def test_same_token_twice_in_the_query_is_one_token(bridge: Bridge) -> None:
    """It does not matter which one counts."""
    token = bridge.token("A")
    client = await bridge.connect(f"{STREAM}&token={token}&token={token}&token=")
    await client.expect("hello")


# --- files that run out -----------------------------------------------------------------------------------------


async def test_last_files_are_told_once(start: StartBridge, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the loop makes of an accept() that fails, the operator has read why."""
    bridge = await start(limits=Limits(server=ServerLimits(few_files=10**9)))  # any descriptor is one of the last
    for _ in range(3):
        await bridge.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "bridge.server.listener"]
    assert len(lines) == 1
    assert "BRIDGE_MAX_CONNECTIONS" in lines[0]
