"""From aiohttp's connection to one of our own: what it leaves behind, and which requests are none for a WebSocket.

``take_over`` leans on how aiohttp tidies up after a client that has gone, which no version of it promises. Should the
tests of the first half fail with a new aiohttp, then it lets go of a connection in another way: read
``RequestHandler.connection_lost`` and ``start`` there, and mend ``bridge.stream.upgrade.take_over``.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.stream.limits import StreamLimits
from bridge.stream.session import Session
from tests.functional.stream.conftest import StartBridge
from tests.functional.stream.echoing import EchoServer
from tests.functional.stream.raw import KEY, PING, PONG, TEXT, frame
from tests.functional.stream.served import Bridge, eventually

STREAMS = 30
AIOHTTPS = (web.RequestHandler, web.BaseRequest, web.StreamResponse)
"""What aiohttp would keep for each connection; its tasks and parsers hang on the first."""
HANDSHAKE = (
    f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()
CHANGED = "aiohttp lets go of a connection in another way than bridge.stream.upgrade.take_over knows"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def kept() -> Counter[str]:
    """The objects of aiohttp's that are alive."""
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, AIOHTTPS))


def certified(folder: Path) -> ssl.SSLContext:
    """A server's context, with a certificate that it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(certificate.public_bytes(pem) + private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


def trusting() -> ssl.SSLContext:
    """A client's context: who the server is does not matter here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture(params=["plain", "TLS"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EchoServer]:
    """Echoes over TCP, and over TLS."""
    tls = certified(tmp_path) if request.param == "TLS" else None
    async with EchoServer(StreamLimits(close_seconds=0.3), tls) as server:
        yield server


@pytest.fixture
def before() -> Counter[str]:
    """What other tests have left."""
    return kept()


@pytest.fixture
async def connections(
    server: EchoServer, before: Counter[str], request: pytest.FixtureRequest
) -> AsyncIterator[list[Connection]]:
    """Streams that have answered a ping."""
    tls = trusting() if "TLS" in request.node.name else None
    made = [await asyncio.open_connection("127.0.0.1", server.port, ssl=tls) for _ in range(STREAMS)]
    for each in made:
        each[1].write(HANDSHAKE)
        head = await each[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        await ask(each)
    yield made
    for _, writer in made:
        writer.transport.abort()
    await eventually(lambda: all(echo.told[-1:] == ["gone"] for echo in server.echoes))


async def ask(connection: Connection) -> None:
    """A ping and its pong."""
    reader, writer = connection
    writer.write(frame(PING, b"there?"))
    assert await reader.readexactly(8) == bytes((0x80 | PONG, 6)) + b"there?"


async def test_aiohttp_keeps_nothing_of_a_stream(
    server: EchoServer, before: Counter[str], connections: list[Connection]
) -> None:
    """No connection, handler, request or response, and no task: the echoes alone are left."""
    assert server.runner.server is not None
    await eventually(lambda: kept() <= before, lambda: (CHANGED, before, kept()))
    assert server.runner.server.connections == [], CHANGED
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task for task in tasks if "aiohttp" in repr(task) or "_handle" in repr(task)] == [], CHANGED
    assert len(server.echoes) == len(connections)


async def test_aiohttp_says_nothing_of_a_stream(
    server: EchoServer, connections: list[Connection], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither when it lets go nor when the stream ends: nobody's mistake."""
    caplog.set_level(logging.DEBUG, "aiohttp")
    connections.pop()[1].transport.abort()
    await eventually(lambda: sum(echo.told == ["gone"] for echo in server.echoes) == 1)
    said = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert said == [], CHANGED


async def test_end_of_aiohttps_server_ends_no_stream(server: EchoServer, connections: list[Connection]) -> None:
    """Streams are ours to close: the runner's cleanup, SIGTERM's last step, neither waits for one nor cuts it."""
    await asyncio.wait_for(server.runner.cleanup(), 5)
    for each in connections:
        await ask(each)
    assert [echo.told for echo in server.echoes] == [[]] * STREAMS, CHANGED


async def test_back_pressure_is_ours(server: EchoServer, connections: list[Connection]) -> None:
    """A transport with enough to write says so to the stream, and when there is room again."""
    reader, _ = connections[-1]
    echo = server.echoes[-1]
    written = 0
    while not echo.told:
        echo.socket.write(bytes(64 * 1024))
        written += 64 * 1024
        assert written < 1 << 26, CHANGED
        await asyncio.sleep(0)
    assert echo.told == ["paused"]
    assert echo.socket.writing_paused
    await reader.readexactly(written)
    await eventually(lambda: echo.told == ["paused", "resumed"], lambda: (CHANGED, echo.told))
    await ask(connections[-1])


async def test_aiohttp_keeps_nothing_in_the_whole_server(bridge: Bridge) -> None:
    """The same for the whole server: no task for each stream, and its requests are not kept."""
    before, tasks = kept(), len(asyncio.all_tasks())
    clients = [await bridge.raw() for _ in range(STREAMS)]
    for client in clients:
        await client.upgrade("/api/v1/ws", bridge.token(subject=f"{id(client)}"))
    await eventually(lambda: kept() <= before, lambda: (CHANGED, before, kept()))
    assert len(asyncio.all_tasks()) == tasks
    assert len(bridge.streaming.streams) == STREAMS


# --- requests that are no upgrade ----------------------------------------------------------------------------


async def refused(bridge: Bridge, request: bytes) -> tuple[int, str, bytes]:
    """Status, head, and all that followed up to the end of the connection, which the server has to end."""
    client = await bridge.raw()
    await client.send(request)
    status, head = await client.response()
    rest = await client.all_bytes()
    assert client.ended == "eof"
    return status, head, rest


def request_of(*lines: str, version: str = "1.1", key: str = f"Sec-WebSocket-Key: {KEY}") -> bytes:
    """An upgrade with ``lines`` in the place of the version header."""
    return "\r\n".join(
        [f"GET /api/v1/ws HTTP/{version}", "Host: x", "Upgrade: websocket", "Connection: Upgrade", key, *lines, "", ""]
    ).encode()


@pytest.mark.parametrize(
    "lines",
    [(), ("Sec-WebSocket-Version: 8",), ("Sec-WebSocket-Version: 13, 8",), ("Sec-WebSocket-Version: 14",),
     ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), ("Sec-WebSocket-Version: ",)],
)  # fmt: skip
async def test_other_versions_are_told_ours(bridge: Bridge, lines: tuple[str, ...]) -> None:
    """426 that names 13 (RFC 6455 section 4.2.2)."""
    status, head, _ = await refused(bridge, request_of(*lines))
    assert status == 426
    assert "\r\nSec-WebSocket-Version: 13\r\n" in head


@pytest.mark.parametrize(
    "request_bytes",
    [
        request_of("Sec-WebSocket-Version: 13", version="1.0"),
        request_of("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"),
        request_of("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        request_of("Sec-WebSocket-Version: 13", key="X: y"),
        request_of("Sec-WebSocket-Version: 13", key="Sec-WebSocket-Key: " + "A" * 400),
    ],
    ids=["HTTP/1.0", "a key twice", "two keys", "no key", "a long key"],
)
async def test_bad_handshakes_are_refused(bridge: Bridge, request_bytes: bytes) -> None:
    """400 (RFC 6455 section 4.2.1), and nothing is counted."""
    status, _, _ = await refused(bridge, request_bytes)
    assert status == 400
    await eventually(lambda: not bridge.remains(), bridge.remains)


@pytest.mark.parametrize("lines", ["Upgrade: foo, websocket", "Upgrade: foo\r\nUpgrade: bar, WebSocket"])
async def test_one_of_several_upgrades_will_do(bridge: Bridge, lines: str) -> None:
    """The header is a list, in one line or in two (RFC 9110 section 7.8)."""
    client = await bridge.raw()
    await client.send(request_of("Sec-WebSocket-Version: 13").replace(b"Upgrade: websocket", lines.encode()))
    assert (await client.response())[0] == 101
    assert ((await client.frame()) or (0,))[0] == TEXT


HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ("Sec-WebSocket-Version: 13", f"Content-Length: {len(HIDDEN)}"),
        ("Sec-WebSocket-Version: 13", "Transfer-Encoding: chunked"),
        ("Sec-WebSocket-Version: 13",),
        ("Sec-WebSocket-Version: 8", f"Content-Length: {len(HIDDEN)}"),
        ("Sec-WebSocket-Version: 8", "Transfer-Encoding: chunked"),
        ("Sec-WebSocket-Version: 8",),
    ],
)
@pytest.mark.parametrize("upgrade", [b"Upgrade: websocket", b"Upgrade: h2c", b"X: y"])
async def test_nothing_hidden_is_answered(bridge: Bridge, lines: tuple[str, ...], upgrade: bytes) -> None:
    """A request behind a refused upgrade, as its body or in the same breath: one refusal, and the connection ends."""
    client = await bridge.raw()
    await client.send(request_of(*lines).replace(b"Upgrade: websocket", upgrade) + HIDDEN)
    status, _ = await client.response()
    assert status in (400, 426)
    rest = await client.all_bytes()
    assert b"HTTP/1.1 " not in rest  # a status line; the words of a 400 quote what could not be read
    assert b"alive" not in rest
    await eventually(lambda: not bridge.remains(), bridge.remains)


# --- what came before the upgrade ----------------------------------------------------------------------------


async def test_upgrade_may_follow_other_requests(bridge: Bridge) -> None:
    """On a connection that was kept alive."""
    client = await bridge.raw()
    await client.send(HIDDEN)
    assert (await client.response())[0] == 200
    while b"alive" not in client.buffer:
        await client.receive()
    client.buffer.clear()
    await client.upgrade("/api/v1/ws", bridge.token())
    assert ((await client.frame()) or (0,))[0] == TEXT


async def test_upgrade_behind_unread_answers_is_refused(start: StartBridge) -> None:
    """The transport has said to aiohttp that it has enough, and would not say it to us: nothing would bound a stream.

    As many answers as it takes until one waits; more than that, and aiohttp itself waits before it reads the upgrade.
    """
    bridge = await start(send_buffer_bytes=4096)
    before = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    statuses = set()
    for count in range(0, 120, 5):
        client = await bridge.raw(receive_bytes=2048)
        await client.send(before * count + request_of("Sec-WebSocket-Version: 13"))
        await asyncio.sleep(0.05)  # nothing is read: who is admitted now is heard of by no other way
        for stream in bridge.streaming.streams:
            assert isinstance(stream, Session)
            assert stream.socket.unwritten_bytes == 0
        statuses.add(len(bridge.streaming.streams))
        await client.leave()
        await bridge.wait_empty()
    assert statuses == {0, 1}


async def test_client_that_reads_nothing_is_cut_at_once_over_tls_too(server: EchoServer) -> None:
    """Below the transport that we know, TLS has another one with a buffer: what waits there is not taken either."""
    is_tls = server.tls is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting() if is_tls else None)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    cast(asyncio.Transport, writer.transport).pause_reading()
    (echo,) = server.echoes
    while not echo.socket.unwritten_bytes:
        echo.socket.write(frame(TEXT, bytes(8192), masked=False))
        await asyncio.sleep(0.001)
    began = time.monotonic()
    echo.socket.close(1000, "token expired")
    echo.socket.abort_if_stuck()
    await eventually(lambda: echo.told[-1:] == ["gone"])
    assert time.monotonic() - began < 5.0  # not the half minute of TLS's own farewell
    writer.transport.abort()
