"""``telemetry-bridge share …`` on a network that fails: sizes, times, lost connections, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from share.cli.client import MAX_ANSWER_BYTES, Client, ServerError
from tests.environment import environment
from tests.functional.share.fake_operator_api import COMMANDS, TOKEN, FakeOperatorApi, run_command
from tests.ports import free_port

Capture = pytest.CaptureFixture[str]

UNSURE = "it may have been done"
DRIP_SECONDS = 0.02
"""Ten times below the time-out of the tests: each read gets something in time."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def known_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in the environment, and nothing else of ours."""
    monkeypatch.setenv("TELEMETRY_BRIDGE_TOKEN", TOKEN)
    monkeypatch.delenv("TELEMETRY_BRIDGE_URL", raising=False)


@pytest.mark.parametrize("size, fits", [(MAX_ANSWER_BYTES, True), (MAX_ANSWER_BYTES + 1, False)])
async def test_an_answer_has_a_largest_size(size: int, fits: bool, capsys: Capture) -> None:
    """To the byte, in chunks of a length that nobody announced."""
    head, tail = b'{"id":"a","x":"', b'"}'

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(head + b"x" * (size - len(head) - len(tail)) + tail)
        return response

    async with FakeOperatorApi(answer=answer).serving() as url:
        status = await run_command("share", "show", "a", "--url", url)
    assert status == (0 if fits else 1)
    assert capsys.readouterr().err == (
        "" if fits else f"telemetry-bridge: the server's answer is larger than {MAX_ANSWER_BYTES} bytes\n"
    )


@contextlib.asynccontextmanager
async def raw_server(said: bytes, drip: bytes | None = None) -> AsyncIterator[str]:
    """A TCP server that answers ``said``. Then it hangs up, or says ``drip`` again and again."""
    speaking: set[asyncio.Task[None]] = set()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        speaking.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            while drip is not None:
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(DRIP_SECONDS)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test has ended
        finally:
            speaking.discard(task)
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(speaking):
            task.cancel()
        await asyncio.gather(*speaking)


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{", b"220 mail ready\r\n"])
async def test_a_connection_that_is_lost_is_no_traceback(said: bytes) -> None:
    """Before the head, in it, in the body, or with no HTTP at all; a change may have been made, and that is said."""
    async with raw_server(said) as url, Client(url, TOKEN) as client:
        with pytest.raises(ServerError, match="no usable answer") as caught:
            await client.create({})
    assert UNSURE in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "said, drip", [(b"", b""), (HEAD + b"X: ", b"x"), (HEAD + b"Content-Length: 1000000\r\n\r\n", b" ")],
    ids=["silent", "in the head", "in the body"],
)  # fmt: skip
async def test_a_server_that_hangs_is_given_up(said: bytes, drip: bytes) -> None:
    """The time-out is for the whole answer: neither silence nor a drip prolongs it."""
    async with raw_server(said, drip) as url, Client(url, TOKEN, timeout_seconds=0.2) as client:
        async with asyncio.timeout(10):
            with pytest.raises(ServerError, match=r"did not answer in 0\.2 s; it may have been done"):
                await client.revoke("a")
            with pytest.raises(ServerError, match=r"did not answer in 0\.2 s$"):
                await client.find("a")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
async def test_nobody_there_is_said_with_the_address(arguments: tuple[str, ...], capsys: Capture) -> None:
    """Nothing was asked, so nothing is in doubt."""
    url = f"http://127.0.0.1:{free_port()}"
    assert await run_command("share", *arguments, "--url", url) == 1
    assert capsys.readouterr() == ("", f"telemetry-bridge: cannot connect to {url}: Connection refused\n")


async def test_no_tls_there_is_said(capsys: Capture) -> None:
    """https:// to a server that speaks http."""
    async with FakeOperatorApi().serving() as url:
        assert await run_command("share", "list", "--url", url.replace("http", "https")) == 1
    line = capsys.readouterr().err
    assert "TLS failed" in line
    assert line.count("\n") == 1


async def test_a_certificate_of_nobody_is_not_trusted(tmp_path: Path, capsys: Capture) -> None:
    """The token is not shown to a server that cannot prove who it is."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    await asyncio.to_thread(
        subprocess.run,
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, env=environment(), capture_output=True, timeout=30,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard = b""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await run_command("share", "list", "--url", f"https://127.0.0.1:{port}") == 1
    line = capsys.readouterr().err
    assert "certificate is not trusted" in line
    assert line.count("\n") == 1
    assert heard == b""
