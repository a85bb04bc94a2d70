"""``telemetry-bridge watch`` as a process: what it prints, when it ends, and with which status."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.environment import environment
from tests.functional.cli.fake_bridge import FakeBridge, Socket, hello, telemetry, until_closed
from tests.functional.cli.test_watch_client import POSITION, SECRET, closing, one_message

RUN_SECONDS = 60.0
"""For a program to start, or to end; the imports alone may take seconds on a busy machine."""
PROGRAM = "import sys; from bridge.cli.main import main; sys.exit(main(sys.argv[1:]))"


def written(arguments: Mapping[str, object]) -> list[str]:
    """The arguments as they are typed: ``json=True`` is ``--json``, ``token_file=x`` is ``--token-file=x``."""
    devices = [str(arguments["devices"])] if "devices" in arguments else []
    options = {
        f"--{name.replace('_', '-')}": value
        for name, value in arguments.items()
        if name != "devices" and value is not None
    }
    return ["watch", *devices, *(name if value is True else f"{name}={value}" for name, value in options.items())]


@contextlib.asynccontextmanager
async def program(
    bridge: FakeBridge | None, arguments: Mapping[str, object], stdout: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a separate process, its address and token in the environment. Gone at the end in any case."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", PROGRAM, *written(arguments),
        env=environment(TELEMETRY_BRIDGE_URL=bridge.url if bridge else "", TELEMETRY_BRIDGE_TOKEN=SECRET, TERM="xterm"),
        stdout=stdout, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run_program(bridge: FakeBridge | None, **arguments: object) -> tuple[int | None, str, str]:
    """Run the command to its end: exit status, stdout, stderr."""
    async with program(bridge, arguments) as process:
        out, err = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    return process.returncode, out.decode(), err.decode()


async def test_json_prints_every_event_on_a_line_and_stops_after_count() -> None:
    """Pipes get what came, one object per line, even where the device wrote line breaks and escape codes."""

    async def act(socket: Socket) -> None:
        await hello(socket)
        await socket.send_str('{"event":"message","device_id":"A",\n "data":{"name":"\x9b31m","LAT":1.10}}')
        await telemetry(socket, "A", POSITION)
        await telemetry(socket, "A", {"too": "many"})
        await until_closed(socket)

    async with FakeBridge(act) as bridge:
        status, out, _ = await run_program(bridge, devices="A", json=True, count=2)
    lines = out.splitlines()
    assert status == 0
    assert [json.loads(line)["event"] for line in lines] == ["hello", "message", "message"]
    assert lines[1] == r'{"event":"message","device_id":"A",  "data":{"name":"\u009b31m","LAT":1.10}}'


async def test_without_a_terminal_each_message_is_a_line() -> None:
    """Device and payload, for grep; news goes to stderr."""
    async with FakeBridge(one_message) as bridge:
        status, out, err = await run_program(bridge, count=1)
    assert status == 0
    device, _, payload = out.strip().partition(" ")
    assert (device, json.loads(payload)) == ("A", POSITION)
    assert err == "connected to 127.0.0.1\n"
    assert bridge.requests[0].query["device_ids"] == "*"


async def test_a_refusal_is_one_line_on_stderr_and_status_3() -> None:
    """And the token is not part of it."""
    error = ("error", {"code": "token_expired", "message": "the token \x1b[31mexpired"})
    async with FakeBridge(closing(1008, error)) as bridge:
        status, out, err = await run_program(bridge)
    assert (status, out) == (3, "")
    assert err.splitlines()[-1] == r"error: token_expired: the token \x1b[31mexpired; get a new token"
    assert SECRET not in err


async def test_the_servers_words_are_said_once() -> None:
    """Where no hint is added, the error event's line is enough."""
    error = ("error", {"code": "token_invalid", "message": "this is not a token"})
    async with FakeBridge(closing(1008, error)) as bridge:
        status, _, err = await run_program(bridge)
    assert status == 3
    assert err.splitlines() == ["error: token_invalid: this is not a token"]


async def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    """``watch --json | head -1`` leaves no traceback."""

    async def chatter(socket: Socket) -> None:
        await hello(socket)
        while not socket.closed:
            await telemetry(socket, "A", POSITION)
            await asyncio.sleep(0.01)

    reader, writer = os.pipe()
    async with FakeBridge(chatter) as bridge, program(bridge, {"json": True}, stdout=writer) as process:
        os.close(writer)
        await asyncio.get_running_loop().run_in_executor(None, os.read, reader, 10)
        os.close(reader)
        _, err = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    assert process.returncode == 0
    assert err.decode() == "connected to 127.0.0.1\n"


@pytest.mark.parametrize("count, number, status", [(None, signal.SIGINT, 0), (5, signal.SIGTERM, 130)])
async def test_signals_end_it_quietly(count: int | None, number: signal.Signals, status: int) -> None:
    """Ctrl-C is the ordinary end; before the count was reached its status differs from success."""
    async with FakeBridge(one_message) as bridge, program(bridge, {"count": count}) as process:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), RUN_SECONDS)
        process.send_signal(number)
        _, err = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    assert process.returncode == status
    assert err.decode() == "connected to 127.0.0.1\n"


async def test_a_wrong_address_is_said_at_once() -> None:
    """A server without such a stream is not asked again."""
    async with FakeBridge(one_message) as bridge:
        status, _, err = await run_program(bridge, url=bridge.url + "/elsewhere")
    assert status == 1
    assert err == "error: no stream there: the server answered HTTP 404\n"


async def test_wrong_arguments_are_status_2_and_quote_no_secret(tmp_path: Path) -> None:
    """A token in the URL is refused without being repeated."""
    wrong: list[dict[str, object]] = [
        {"url": f"ws://h/?token={SECRET}"},
        {"url": f"ws://u:{SECRET}@h"},
        {"url": "ftp://h"},
        {"count": 0},
        {"token": SECRET + "\n\x1b[2J"},
        {"token_file": str(tmp_path / "missing")},
    ]
    for arguments in wrong:
        status, out, err = await run_program(None, **arguments)
        assert (status, out) == (2, "")
        assert err.startswith("telemetry-bridge: ")
        assert len(err.splitlines()) == 1
        assert SECRET not in err


async def test_a_terminal_gets_a_table_and_its_own_screen_back() -> None:
    """The alternate screen is entered and left, and no escape code of a device reaches the terminal."""

    async def act(socket: Socket) -> None:
        await hello(socket)
        await telemetry(socket, "A\x1b[31m", POSITION)
        await until_closed(socket)

    ours, theirs = os.openpty()
    async with FakeBridge(act) as bridge, program(bridge, {}, stdout=theirs) as process:
        os.close(theirs)
        drawn = b""
        read = partial(asyncio.get_running_loop().run_in_executor, None, os.read, ours, 65_536)
        async with asyncio.timeout(RUN_SECONDS):
            with contextlib.suppress(OSError):  # EIO: it has gone, and its end of the terminal with it
                while b"-33.40000" not in drawn:
                    drawn += await read()
                process.send_signal(signal.SIGINT)
                while True:  # it goes on drawing until it has heard, and would wait for a reader
                    drawn += await read()
        await asyncio.wait_for(process.communicate(), RUN_SECONDS)
        os.close(ours)
    screen = drawn.decode()
    assert process.returncode == 0
    assert screen.startswith("\x1b[?1049h\x1b[?25l")
    assert screen.endswith("\x1b[?25h\x1b[?1049l")
    assert r"A\x1b[31m" in screen
    assert "A\x1b" not in screen
